//! `GET /reporting/{report}`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Utc;
use http::{
    HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
        CONTENT_SECURITY_POLICY, ETAG, VARY,
    },
};
use lambda_http::Body;
use lyceum_core::{
    CallerDatabase, Error, Exchange, Repeat, Response,
    http::{answer, from_file},
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    catalogue::{Parameter, Report},
    chart::Drawing,
    format::{Format, is_known, takes_gzip},
    html::{self, Page},
    request::{Asked, Heading, Query},
    sheet_csv::Csv,
    sheet_json::Json,
    sheet_xlsx::Xlsx,
    spool::{Spool, Spooled, failure},
    words::{self, of},
};

/// A report, as the caller may see it.
///
/// As JSON, CSV, a spreadsheet, a page to print, or its chart alone: by `format`, else by `Accept`. All of its rows, however
/// many pages the database's function has. Parameters that a report does not know are refused; `GET /reporting` lists them.
#[utoipa::path(
    get,
    path = "/reporting/{report}",
    tag = "reporting",
    params(
        ("report" = String, Path, description = "A name of `GET /reporting`"),
        ("format" = Option<String>, Query, description = "`json`, `csv`, `xlsx`, `html` or `svg`"),
        ("locale" = Option<String>, Query, description = "`en`, `de` or `es`; else by `Accept-Language`, else the organisation's"),
        ("tenant_id" = uuid::Uuid, Query, description = "The organisation"),
        ("user_id" = Option<uuid::Uuid>, Query, description = "Of learner reports: somebody other than the caller"),
        ("unit_id" = Option<uuid::Uuid>, Query, description = "A unit, with all below it"),
        ("course_id" = Option<uuid::Uuid>, Query, description = "A course"),
        ("cohort_id" = Option<uuid::Uuid>, Query, description = "A cohort"),
        ("from" = Option<chrono::NaiveDate>, Query, description = "First day, in the organisation's time zone"),
        ("until" = Option<chrono::NaiveDate>, Query, description = "Last day"),
        ("last_days" = Option<u32>, Query, description = "Instead: so many days up to today"),
        ("at" = Option<chrono::NaiveDate>, Query, description = "Of the training matrix: at the end of a day of the past"),
        ("states" = Option<String>, Query, description = "Of training that is due: states, with commas"),
        ("step" = Option<String>, Query, description = "Of reports over time: `day`, `week` or `month`"),
        ("min_attempts" = Option<u32>, Query, description = "Of questions: leave out those with fewer answers"),
        ("limit" = Option<u32>, Query, description = "Most rows, of reports that have pages"),
    ),
    responses(
        (status = 200, description = "The report", content(
            (crate::schema::ReportAnswer = "application/json"), (String = "text/csv"), (String = "text/html"), (String = "image/svg+xml"),
            (String = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        )),
        (status = 304, description = "As `If-None-Match` has it"),
        (status = 401, description = "Not signed in, or the token is not acceptable", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not among the reports that the caller may read (`report_not_allowed`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such report (`report_not_found`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 422, description = "Parameters at fault, or too large in this form (`report_too_large`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database cannot be reached", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 504, description = "The database did not answer in time", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
    ),
    security(("access_token" = []))
)]
pub(crate) async fn show(exchange: &Exchange<'_>) -> Result<Response, Error> {
    let caller = exchange.caller().await?;
    let report = Report::find(exchange.token()?).ok_or_else(no_such_report)?;
    let query = Query::read(report, exchange.query(), exchange.headers())?;
    let database = exchange.database(&caller);
    let heading = heading(&database, &query).await?;
    let asked = query.with(heading, exchange.headers());

    let gzip = asked.format.is_compressible() && takes_gzip(exchange.headers());
    let mut tag = Tag::new(&asked)?;
    let mut writing = Writing::new(&asked, gzip)?;
    let mut rows = Rows::of(&asked);
    while let Some(page) = rows.next(&database).await? {
        tag.page(&page);
        for row in page {
            writing.row(&row)?;
        }
    }
    let tag = tag.finish();
    if is_known(exchange.headers(), &tag) {
        let mut response = answer(
            StatusCode::NOT_MODIFIED,
            asked.format.media_type(),
            Body::Empty,
        );
        response.headers_mut().remove(http::header::CONTENT_TYPE);
        return headed(response, &asked, &tag, false);
    }
    let spool = writing.finish(&asked)?;
    let kind = asked.format.media_type();
    let response = match spool.finish().map_err(failure)? {
        Spooled::Bytes(bytes) => answer(StatusCode::OK, kind, Body::Binary(bytes)),
        Spooled::File(file) => from_file(StatusCode::OK, kind, file),
    };
    headed(response, &asked, &tag, gzip)
}

fn no_such_report() -> Error {
    Error::Rule(Box::new(lyceum_core::error::Rule {
        status: StatusCode::NOT_FOUND,
        code: "report_not_found".to_owned(),
        message: "There is no such report.".to_owned(),
        hint: Some("GET /reporting lists those there are.".to_owned()),
        details: None,
        details_member: "details",
        retry_after: None,
    }))
}

/// What everything is called, as the caller sees it; nothing is refused here, that is the report's to do.
async fn heading(database: &CallerDatabase<'_>, query: &Query) -> Result<Heading, Error> {
    let answer = database
        .rpc(
            "analytics",
            "describe_report",
            &query.heading_arguments(),
            Repeat::Safe,
        )
        .await?;
    let rows: Vec<Heading> = serde_json::from_slice(&answer).map_err(|error| {
        Error::internal(format!(
            "analytics.describe_report answered otherwise: {error}"
        ))
    })?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

/// The rows of a report, page by page.
struct Rows<'a> {
    asked: &'a Asked,
    after: Option<String>,
    left: u64,
    is_over: bool,
}

impl<'a> Rows<'a> {
    fn of(asked: &'a Asked) -> Self {
        Self {
            asked,
            after: None,
            left: asked.limit.unwrap_or(u64::MAX),
            is_over: false,
        }
    }

    /// The next page, each row in the order of the report's columns.
    async fn next(
        &mut self,
        database: &CallerDatabase<'_>,
    ) -> Result<Option<Vec<Vec<Value>>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let report = self.asked.report;
        let mut arguments = self.asked.arguments.clone();
        let size = report.page.map(|page| u64::from(page).min(self.left));
        if let Some(size) = size {
            arguments.insert("p_limit".to_owned(), json!(size));
            if let Some(after) = &self.after {
                arguments.insert("p_after".to_owned(), json!(after));
            }
        }
        let answer = database
            .rpc(report.schema, report.function, &arguments, Repeat::Safe)
            .await?;
        let rows: Vec<Map<String, Value>> = serde_json::from_slice(&answer).map_err(|error| {
            Error::internal(format!("{} answered otherwise: {error}", report.function))
        })?;
        let count = rows.len() as u64;
        self.left = self.left.saturating_sub(count);
        let next = rows
            .last()
            .and_then(|row| row.get("cursor")?.as_str())
            .map(str::to_owned);
        // The same place again would lead round in circles.
        self.is_over = size.is_none_or(|size| count < size)
            || self.left == 0
            || next.is_none()
            || next == self.after;
        self.after = next;
        let rows = rows
            .into_iter()
            .map(|mut row| {
                report
                    .columns
                    .iter()
                    .map(|column| row.remove(column.name).unwrap_or_default())
                    .collect()
            })
            .collect();
        Ok(Some(rows))
    }
}

/// A weak tag: of what the rows say, for whom, and in which form; not of when it was asked.
struct Tag(Sha256);

impl Tag {
    fn new(asked: &Asked) -> Result<Self, Error> {
        let heading = &asked.heading;
        let said = json!([
            env!("CARGO_PKG_VERSION"),
            asked.report.name,
            asked.format.name(),
            asked.look.locale.tag(),
            asked.look.zone.name(),
            asked.arguments,
            heading.organization,
            heading.person,
            heading.unit,
            heading.course,
            heading.cohort,
            asked.limit,
        ]);
        let mut hash = Sha256::new();
        hash.update(serde_json::to_vec(&said).map_err(Error::internal)?);
        let mut titles: Vec<_> = asked.look.courses.iter().collect();
        titles.sort();
        hash.update(serde_json::to_vec(&titles).map_err(Error::internal)?);
        Ok(Self(hash))
    }

    fn page(&mut self, rows: &[Vec<Value>]) {
        for row in rows {
            for value in row {
                self.0.update(value.to_string());
                self.0.update([0]);
            }
        }
    }

    fn finish(self) -> String {
        format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&self.0.finalize()[..18]))
    }
}

/// A report being written, in one of its forms.
enum Writing<'a> {
    Json(Json<Spool>),
    Csv(Box<Csv<Spool>>),
    Xlsx(Box<Xlsx>, Spool),
    Html(Box<Page<'a>>, Spool),
    Svg(Box<Drawing>, Spool),
}

impl<'a> Writing<'a> {
    fn new(asked: &'a Asked, gzip: bool) -> Result<Self, Error> {
        let spool = Spool::new(gzip);
        Ok(match asked.format {
            Format::Json => Self::Json(Json::new(spool, asked)?),
            Format::Csv => Self::Csv(Box::new(Csv::new(
                spool,
                asked.report.columns,
                asked.look.clone(),
            )?)),
            Format::Xlsx => Self::Xlsx(Box::new(Xlsx::new(asked)?), spool),
            Format::Html => Self::Html(Box::new(Page::new(asked)), spool),
            Format::Svg => Self::Svg(
                Box::new(Drawing::new(asked.report, asked.look.clone())),
                spool,
            ),
        })
    }

    fn row(&mut self, row: &[Value]) -> Result<(), Error> {
        match self {
            Self::Json(json) => json.row(row),
            Self::Csv(csv) => csv.row(row),
            Self::Xlsx(xlsx, _) => xlsx.row(row),
            Self::Html(page, _) => {
                page.row(row);
                Ok(())
            }
            Self::Svg(drawing, _) => {
                drawing.row(row);
                Ok(())
            }
        }
    }

    fn finish(self, asked: &Asked) -> Result<Spool, Error> {
        match self {
            Self::Json(json) => json.finish(),
            Self::Csv(csv) => csv.finish(),
            Self::Xlsx(xlsx, spool) => {
                let locale = asked.look.locale;
                let mut about = vec![(
                    of(words::REPORT, locale).to_owned(),
                    of(asked.report.title, locale).to_owned(),
                )];
                if let Some(name) = &asked.heading.organization {
                    about.push((of(words::ORGANIZATION, locale).to_owned(), name.clone()));
                }
                about.extend(facts(asked));
                about.push((
                    of(words::WHAT_COUNTS, locale).to_owned(),
                    of(asked.report.counts, locale).to_owned(),
                ));
                xlsx.finish(&about, spool)
            }
            Self::Html(page, spool) => {
                let now = asked.look.locale.moment(Utc::now(), asked.look.zone);
                let as_of = format!("{now} ({})", asked.look.zone.name());
                page.finish(&facts(asked), &as_of, spool)
            }
            Self::Svg(drawing, mut spool) => {
                let mut subtitle = asked.heading.organization.clone().unwrap_or_default();
                for (name, value) in facts(asked) {
                    subtitle.push_str(&format!(" · {name}: {value}"));
                }
                std::io::Write::write_all(&mut spool, drawing.alone(&subtitle).as_bytes())
                    .map_err(failure)?;
                Ok(spool)
            }
        }
    }
}

/// What the report was limited to, in words.
fn facts(asked: &Asked) -> Vec<(String, String)> {
    let locale = asked.look.locale;
    let heading = &asked.heading;
    let mut facts = Vec::new();
    let mut fact = |name: words::Words, value: String| {
        facts.push((of(name, locale).to_owned(), value));
    };
    let given = |name: &str| asked.parameters.get(name);
    for (parameter, name, value) in [
        ("user_id", words::PERSON, &heading.person),
        ("unit_id", words::UNIT, &heading.unit),
        ("course_id", words::COURSE, &heading.course),
        ("cohort_id", words::COHORT, &heading.cohort),
    ] {
        if given(parameter).is_some() {
            // What the caller does not see has no name here either.
            fact(name, value.clone().unwrap_or_else(|| "–".to_owned()));
        }
    }
    if given("user_id").is_none()
        && asked.report.parameters.contains(&Parameter::Person)
        && let Some(person) = &heading.person
    {
        fact(words::PERSON, person.clone());
    }
    let day = |name: &str| {
        given(name)
            .and_then(crate::cell::day)
            .map(|day| locale.day(day))
    };
    if asked.report.parameters.contains(&Parameter::From) {
        let period = match (day("from"), day("until")) {
            (Some(from), Some(until)) => format!("{from} – {until}"),
            (Some(from), None) => format!("{from} –"),
            (None, Some(until)) => format!("– {until}"),
            // Twelve steps until today: the rows tell.
            (None, None) if asked.report.parameters.contains(&Parameter::Step) => String::new(),
            (None, None) => of(words::SINCE_EVER, locale).to_owned(),
        };
        if !period.is_empty() {
            fact(words::PERIOD, period);
        }
    }
    if let Some(at) = day("at") {
        fact(words::AT, at);
    }
    if let Some(least) = given("min_attempts").and_then(Value::as_i64) {
        fact(words::MIN_ATTEMPTS, locale.count(least));
    }
    if let Some(states) = given("states").and_then(Value::as_array) {
        let told: Vec<String> = states
            .iter()
            .filter_map(Value::as_str)
            .map(|state| words::told(state, locale))
            .collect();
        fact(words::STATES, told.join(", "));
    }
    if let Some(step) = given("step").and_then(Value::as_str) {
        fact(words::STEP, words::told(step, locale));
    }
    facts
}

fn headed(mut response: Response, asked: &Asked, tag: &str, gzip: bool) -> Result<Response, Error> {
    let headers = response.headers_mut();
    let value = |text: &str| HeaderValue::from_str(text).map_err(Error::internal);
    // Kept by the caller's own cache only, and shown again only after asking: rights may have been taken away meanwhile.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(ETAG, value(tag)?);
    headers.insert(
        VARY,
        HeaderValue::from_static("Accept, Accept-Encoding, Accept-Language, Authorization"),
    );
    headers.insert(CONTENT_LANGUAGE, value(asked.look.locale.tag())?);
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if asked.format == Format::Html {
        headers.insert(CONTENT_SECURITY_POLICY, value(&html::policy())?);
    }
    if asked.format.is_file() {
        let day = asked
            .heading
            .today
            .map(|day| format!("-{day}"))
            .unwrap_or_default();
        let name = format!(
            "attachment; filename=\"{}{day}.{}\"",
            asked.report.name,
            asked.format.name()
        );
        headers.insert(CONTENT_DISPOSITION, value(&name)?);
    }
    Ok(response)
}
