//! The shapes of answers, as the OpenAPI document shows them.

use utoipa::ToSchema;

/// The reports that there are.
#[derive(ToSchema)]
pub struct Catalogue {
    /// The language that it is told in.
    pub locale: String,
    /// All reports.
    pub reports: Vec<CatalogueEntry>,
}

/// A report.
#[derive(ToSchema)]
pub struct CatalogueEntry {
    /// Its name in addresses.
    #[schema(example = "completion-rate")]
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it counts.
    pub counts: String,
    /// The database's function, for those who call it themselves.
    #[schema(example = "analytics.get_completion_rate")]
    pub function: String,
    /// The forms that it can be had in.
    pub formats: Vec<String>,
    /// What can be asked of it.
    pub parameters: Vec<CatalogueParameter>,
    /// What its rows hold.
    pub columns: Vec<CatalogueColumn>,
}

/// What can be asked of a report.
#[derive(ToSchema)]
pub struct CatalogueParameter {
    /// Its name in addresses.
    #[schema(example = "unit_id")]
    pub name: String,
    /// `uuid`, `date`, `integer`, `states`, `step`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether there is no report without it.
    pub required: bool,
    /// What it chooses.
    pub meaning: String,
}

/// A column of a report.
#[derive(ToSchema)]
pub struct CatalogueColumn {
    /// Its name in JSON.
    #[schema(example = "completion_rate")]
    pub name: String,
    /// `id`, `text`, `word`, `count`, `number`, `percent` (0 to 100), `date`, `time`, `seconds`, `flag`, `list` or `data`.
    pub kind: String,
    /// Its heading for people.
    pub heading: String,
}

/// A report as JSON. Later versions may add members.
#[derive(ToSchema)]
pub struct ReportAnswer {
    /// Its name.
    pub report: String,
    /// What people call it.
    pub title: String,
    /// What it counts.
    pub counts: String,
    /// The organisation's name.
    pub organization: Option<String>,
    /// The language of headings.
    pub locale: String,
    /// The organisation's time zone, which days are those of.
    pub time_zone: String,
    /// What was asked for.
    pub parameters: serde_json::Value,
    /// What the rows hold.
    pub columns: Vec<CatalogueColumn>,
    /// The rows, as the database's function returns them.
    pub rows: Vec<serde_json::Value>,
    /// How many they are.
    pub row_count: i64,
}
