//! Courses as files: the portable format in and out, and curricula of other makes on their way in.
//!
//! Files are read and checked as a whole first; then each course is one call of `lms.import_course`, made by a person and
//! with their rights, which takes all of the course or nothing.

mod answers;
mod bank;
mod disk;
mod document;
mod exercism;
mod faults;
mod folder;
mod lesson_file;
mod oatutor;
mod qti;
mod source;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use flate2::read::MultiGzDecoder;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::api::{Api, send};
use super::findings::{Findings, Remark, Tally};
use super::{Action, Reason};
use crate::files::write_public;
use bank::Bank;
use faults::Fault;
use source::{Curriculum, Located, reason};

/// How long the database may take for one course.
const PATIENCE: Duration = Duration::from_secs(120);
/// Largest file that is read as a whole.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

static NOT_MARKDOWN: Reason = reason(Action::Skipped, "not_markdown", "file is no Markdown");
static TAG_LEFT_OUT: Reason = reason(
    Action::Skipped,
    "tag_left_out",
    "the tenant has no such tag, and adding one takes catalog.write",
);
static SKILL_DIFFERS: Reason = reason(
    Action::Flagged,
    "skill_differs",
    "skill has another name or description in the tenant, and keeps it",
);
static OTHER: Reason = reason(Action::Flagged, "other", "remark of the database");

/// Which tenant, and who asks.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Slug of the tenant.
    #[arg(long, value_name = "SLUG")]
    pub tenant: String,
    /// Who does it: a login of the local stack.
    #[arg(long = "as", value_name = "EMAIL")]
    pub email: Option<String>,
    /// API of another stack or of a hosted project, instead of --as.
    #[arg(long, requires_all = ["anon_key", "access_token"], value_name = "URL")]
    pub api_url: Option<String>,
    /// Its anon key.
    #[arg(long, env = "ANON_KEY", hide_env_values = true, value_name = "KEY")]
    pub anon_key: Option<String>,
    /// The access token of whoever does it.
    #[arg(
        long,
        env = "ACCESS_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub access_token: Option<String>,
}

/// What `lyceum import course` and its likes take on the command line.
#[derive(Debug, Clone, Args)]
pub struct CourseArgs {
    /// The file or folder.
    pub path: PathBuf,
    /// Where it goes.
    #[command(flatten)]
    pub target: Target,
    /// Slug of the course, where the source has another one.
    #[arg(long, value_name = "SLUG")]
    pub course: Option<String>,
    /// Only tell what would be done.
    #[arg(long)]
    pub dry_run: bool,
}

/// What `lyceum import qti` takes on the command line.
#[derive(Debug, Clone, Args)]
pub struct QtiArgs {
    /// An item or a test (.xml), a folder of them, or a package (.zip).
    pub path: PathBuf,
    /// Slug of the course that gets the assessments.
    #[arg(long, value_name = "SLUG")]
    pub course: String,
    /// Key of the lesson that they belong to; left out: the course as a whole.
    #[arg(long, value_name = "KEY")]
    pub lesson: Option<String>,
    /// Where the course is.
    #[command(flatten)]
    pub target: Target,
    /// Only tell what would be done.
    #[arg(long)]
    pub dry_run: bool,
}

/// What courses are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The portable format.
    Course,
    /// A track's config.json.
    Exercism,
    /// The folder of OATutor's content.
    Oatutor,
}

impl Source {
    const fn name(self) -> &'static str {
        match self {
            Self::Course => "course",
            Self::Exercism => "exercism",
            Self::Oatutor => "oatutor",
        }
    }
}

/// How a course is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A folder of Markdown files.
    Folder,
    /// One document.
    Json,
}

/// A tenant behind an API, and somebody who asks it.
pub struct Place {
    api: Api,
    url: String,
    tenant: String,
    tenant_id: String,
}

impl Place {
    /// Finds the tenant, as the person sees it.
    ///
    /// # Errors
    /// When the API does not answer, refuses the token, or the person does not see such a tenant.
    pub async fn find(api_url: &str, key: &str, token: &str, tenant: &str) -> Result<Self> {
        let api = Api::as_person(api_url, key, token)?;
        let request = api
            .request(Method::GET, "/rest/v1/tenants", PATIENCE)
            .query(&[("select", "id"), ("slug", &format!("eq.{tenant}"))])
            .header("accept-profile", "lms");
        let (status, answer) = send(request)
            .await
            .with_context(|| format!("{api_url} cannot be reached"))?;
        if !status.is_success() {
            bail!("{}", refusal(status, &answer));
        }
        let tenant_id = answer[0]["id"]
            .as_str()
            .with_context(|| format!("there is no tenant {tenant} for you at {api_url}"))?
            .to_owned();
        Ok(Self {
            api,
            url: api_url.to_owned(),
            tenant: tenant.to_owned(),
            tenant_id,
        })
    }

    /// Id of a course, as the person sees it.
    async fn course_id(&self, slug: &str) -> Result<String> {
        let request = self
            .api
            .request(Method::GET, "/rest/v1/courses", PATIENCE)
            .query(&[
                ("select", "id"),
                ("tenant_id", &format!("eq.{}", self.tenant_id)),
                ("slug", &format!("eq.{slug}")),
            ])
            .header("accept-profile", "lms");
        let (status, answer) = send(request)
            .await
            .with_context(|| format!("{} cannot be reached", self.url))?;
        if !status.is_success() {
            bail!("{}", refusal(status, &answer));
        }
        Ok(answer[0]["id"]
            .as_str()
            .with_context(|| format!("there is no course {slug} for you in {}", self.tenant))?
            .to_owned())
    }

    async fn call(&self, function: &str, arguments: &Value) -> Result<(StatusCode, Value)> {
        let request = self
            .api
            .request(Method::POST, &format!("/rest/v1/rpc/{function}"), PATIENCE)
            .header("content-profile", "lms")
            .json(arguments);
        send(request).await.with_context(|| {
            format!(
                "{} broke off; nothing of this course was written, or all",
                self.url
            )
        })
    }
}

/// What became of one course.
#[derive(Debug)]
pub struct Outcome {
    /// Its slug.
    pub slug: String,
    /// What `lms.import_course` answers, or why it was not imported; none where no course was to be imported.
    pub answer: Option<Result<Value, String>>,
    /// The same of its assessments and `lms.import_assessments`, where the source has some.
    pub assessments: Option<Result<Value, String>>,
}

impl Outcome {
    fn has_failed(&self) -> bool {
        [&self.answer, &self.assessments]
            .into_iter()
            .flatten()
            .any(Result::is_err)
    }
}

/// What an import did; its `Display` is the summary for the terminal.
#[derive(Debug)]
pub struct Report {
    /// Nothing was written: this is what would have been done.
    pub dry_run: bool,
    /// One for each course.
    pub outcomes: Vec<Outcome>,
    /// What was not taken as it stands, by reason; skipped first.
    pub findings: Vec<(&'static Reason, Tally)>,
    /// What the source holds and Lyceum has no place for, with how many of it.
    pub not_imported: Vec<(String, u64)>,
    /// The list of findings, one JSON object a line: `{file, line, reason, action, detail}`.
    pub report_file: PathBuf,
}

impl Report {
    /// How many courses were not imported.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.has_failed())
            .count()
    }
}

/// A source that was read and checked.
struct Checked {
    curriculum: Curriculum,
    /// File of each part of the course, where there is one course of many files.
    files: BTreeMap<String, String>,
}

/// Reads a source, and imports its courses one after another. Running it again changes nothing.
///
/// # Errors
/// A source that cannot be read, or that has faults: all of them, and nothing is written.
pub async fn run(
    source: Source,
    path: &Path,
    slug: Option<String>,
    dry_run: bool,
    place: Place,
    report_dir: &Path,
) -> Result<Report> {
    let Checked {
        mut curriculum,
        files,
    } = read(source, path, slug.as_deref())?;
    if let Some(slug) = slug {
        let [course] = &mut curriculum.courses[..] else {
            bail!("there is more than one course here, so --course cannot name it");
        };
        for (of, _) in &mut curriculum.banks {
            of.clone_from(&slug);
        }
        course.slug = slug;
    }
    let mut findings = Findings::begin(report_dir, source.name())?;
    for Located { file, line, remark } in &curriculum.remarks {
        findings.add(file, *line, remark, None)?;
    }
    let mut outcomes = Vec::new();
    for course in &curriculum.courses {
        let bank = curriculum.banks.iter().find(|(of, _)| *of == course.slug);
        let arguments =
            json!({ "p_tenant_id": place.tenant_id, "p_course": course, "p_dry_run": dry_run });
        let (status, answer) = place.call("import_course", &arguments).await?;
        let answer = if status.is_success() {
            for remark in answer["remarks"].as_array().into_iter().flatten() {
                let reason = match remark["code"].as_str() {
                    Some("tag_left_out") => &TAG_LEFT_OUT,
                    Some("skill_differs") => &SKILL_DIFFERS,
                    _ => &OTHER,
                };
                let key = remark["key"].as_str().unwrap_or_default();
                let remark = Remark::new(reason, format!("{}: {key}", course.slug));
                findings.add(source.name(), 0, &remark, None)?;
            }
            Ok(answer)
        } else {
            Err(refusal_of_course(&files, status, &answer))
        };
        let mut assessments = None;
        if let (Some((_, bank)), Ok(answer)) = (bank, &answer) {
            assessments = if dry_run && answer["course"] != "unchanged" {
                // Its lessons are not there yet, so that it cannot be told what the database would say.
                Some(Ok(json!({})))
            } else {
                Some(import_bank(&place, &course.slug, bank, dry_run).await?)
            };
        }
        outcomes.push(Outcome {
            slug: course.slug.clone(),
            answer: Some(answer),
            assessments,
        });
    }
    let (report_file, findings) = findings.finish()?;
    Ok(Report {
        dry_run,
        outcomes,
        findings,
        not_imported: curriculum.not_imported,
        report_file,
    })
}

/// Reads QTI content, and imports it into a course that is there. Running it again changes nothing.
///
/// # Errors
/// Content that cannot be read, or a course that the person does not see; nothing is written.
pub async fn run_qti(args: &QtiArgs, place: Place, report_dir: &Path) -> Result<Report> {
    let package = qti::package::Package::read(&args.path)?;
    let name = args
        .path
        .canonicalize()
        .ok()
        .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .unwrap_or_default();
    let mut content = qti::read(&name, &package)?;
    for assessment in &mut content.bank.assessments {
        assessment.lesson.clone_from(&args.lesson);
    }
    let mut findings = Findings::begin(report_dir, "qti")?;
    for Located { file, line, remark } in &content.remarks {
        findings.add(file, *line, remark, None)?;
    }
    let assessments = if content.bank.assessments.is_empty() {
        Err("nothing of it can be imported".to_owned())
    } else {
        import_bank(&place, &args.course, &content.bank, args.dry_run).await?
    };
    let (report_file, findings) = findings.finish()?;
    Ok(Report {
        dry_run: args.dry_run,
        outcomes: vec![Outcome {
            slug: args.course.clone(),
            answer: None,
            assessments: Some(assessments),
        }],
        findings,
        not_imported: content.not_imported,
        report_file,
    })
}

/// Imports the assessments of a course: what the database answers, or why it does not take them.
async fn import_bank(
    place: &Place,
    slug: &str,
    bank: &Bank,
    dry_run: bool,
) -> Result<Result<Value, String>> {
    let course_id = place.course_id(slug).await?;
    let arguments = json!({ "p_course_id": course_id, "p_document": bank, "p_dry_run": dry_run });
    let (status, answer) = place.call("import_assessments", &arguments).await?;
    Ok(if status.is_success() {
        Ok(answer)
    } else {
        Err(refusal_of_course(&BTreeMap::new(), status, &answer))
    })
}

fn read(source: Source, path: &Path, slug: Option<&str>) -> Result<Checked> {
    let mut files = BTreeMap::new();
    let curriculum = match source {
        Source::Exercism => exercism::read(&read_whole(path)?, slug)?,
        Source::Oatutor => {
            let problems = path.join(oatutor::PROBLEMS);
            let problems = problems.exists().then(|| unpack(&problems)).transpose()?;
            oatutor::read(&oatutor::Files {
                plans: &read_whole(&path.join(oatutor::PLANS))?,
                model: &read_whole(&path.join(oatutor::MODEL))?,
                problems: problems.as_deref(),
            })?
        }
        Source::Course if path.is_dir() => {
            let found = disk::read(path)?;
            let name = path
                .canonicalize()
                .ok()
                .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
                .unwrap_or_default();
            let read = folder::read(&name, &found.files);
            let mut faults = found.faults;
            let read = match read {
                Ok(read) if faults.is_empty() => read,
                Ok(_) => return Err(listing(&faults)),
                Err(more) => {
                    faults.extend(more);
                    return Err(listing(&faults));
                }
            };
            files = read.files;
            Curriculum {
                courses: vec![read.course],
                remarks: found
                    .others
                    .into_iter()
                    .map(|path| Located {
                        file: ".".into(),
                        line: 0,
                        remark: Remark::new(&NOT_MARKDOWN, path),
                    })
                    .collect(),
                ..Curriculum::default()
            }
        }
        Source::Course => {
            let course = document::from_json(&read_whole(path)?)
                .with_context(|| format!("{} is no course", path.display()))?;
            Curriculum {
                courses: vec![course],
                ..Curriculum::default()
            }
        }
    };
    // What a parser of another format makes is checked as what an author writes.
    let name = path.display().to_string();
    let places = BTreeMap::from([(String::new(), name)]);
    let faults: Vec<_> = curriculum
        .courses
        .iter()
        .flat_map(|course| {
            let places = if files.is_empty() { &places } else { &files };
            course
                .faults()
                .into_iter()
                .map(|(path, code, message)| {
                    let message = if path.is_empty() {
                        message
                    } else {
                        format!("{path}: {message}")
                    };
                    folder::fault_of(places, "", code, message)
                })
                .collect::<Vec<_>>()
        })
        .collect();
    if !faults.is_empty() {
        return Err(listing(&faults));
    }
    Ok(Checked { curriculum, files })
}

fn listing(faults: &[Fault]) -> anyhow::Error {
    let lines: Vec<_> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
    anyhow!(
        "nothing was imported, because of {} faults:{}",
        faults.len(),
        lines.concat()
    )
}

fn read_whole(path: &Path) -> Result<String> {
    disk::read_text(path, LARGEST_FILE)?
        .map_err(|refusal| anyhow!("{}", refusal.of(path.display().to_string())))
}

/// Unpacks a file, which may be a small one that holds a huge one.
fn unpack(path: &Path) -> Result<String> {
    let context = || format!("{} cannot be read", path.display());
    let mut text = String::new();
    MultiGzDecoder::new(std::fs::File::open(path).with_context(context)?)
        .take(LARGEST_FILE + 1)
        .read_to_string(&mut text)
        .with_context(context)?;
    if text.len() as u64 > LARGEST_FILE {
        bail!(
            "{} unpacks to more than {LARGEST_FILE} bytes",
            path.display()
        );
    }
    Ok(text)
}

/// Why the database takes a course not, with the files that its faults are in.
fn refusal_of_course(
    files: &BTreeMap<String, String>,
    status: StatusCode,
    answer: &Value,
) -> String {
    let faults: Option<Vec<Value>> = answer["details"]
        .as_str()
        .and_then(|details| serde_json::from_str(details).ok());
    let Some(faults) = faults.filter(|_| {
        ["course_not_importable", "assessments_not_importable"]
            .iter()
            .any(|code| answer["code"] == *code)
    }) else {
        return refusal(status, answer);
    };
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| {
            let path = fault["path"].as_str().unwrap_or_default();
            let message = fault["message"].as_str().unwrap_or_default();
            if files.is_empty() {
                format!("{path}: {message}")
            } else {
                folder::fault_of(files, path, "refused", message.to_owned()).to_string()
            }
        })
        .collect();
    lines.join("; ")
}

fn refusal(status: StatusCode, answer: &Value) -> String {
    let Some(message) = answer["message"].as_str() else {
        return format!("the API answers {status}: {answer}");
    };
    let more: String = ["details", "hint"]
        .iter()
        .filter_map(|key| answer[key].as_str())
        .map(|text| format!(" {text}"))
        .collect();
    format!(
        "{message} ({}){more}",
        answer["code"].as_str().unwrap_or_default()
    )
}

/// What a document does not hold: it is of the tenant, or of people.
pub const NOT_EXPORTED: &str = "people, status and versions, price, capacity and enrolment rules, categories, \
     prerequisites among courses, reviews";

/// Writes the draft of a course into `out`, which must not be there.
///
/// # Errors
/// When there is no such course for this person, or it cannot be written.
pub async fn export(place: &Place, slug: &str, form: Option<Form>, out: &Path) -> Result<()> {
    let id = place.course_id(slug).await?;
    let (status, answer) = place
        .call("export_course", &json!({ "p_course_id": id }))
        .await?;
    if !status.is_success() {
        bail!("{}", refusal(status, &answer));
    }
    let course = document::from_json(&answer.to_string())
        .context("the answer of export_course is no course")?;
    let form = form.unwrap_or(if out.extension().is_some_and(|end| end == "json") {
        Form::Json
    } else {
        Form::Folder
    });
    match form {
        Form::Folder => disk::write(out, &folder::write(&course)?),
        Form::Json if out.exists() => bail!("{} is there already", out.display()),
        Form::Json => write_public(out, &course.to_json()?),
    }
}

/// What happened to a part: `2 created, 1 removed`; none when nothing did.
fn counts(part: &Value) -> Option<String> {
    let counts: Vec<_> = ["created", "updated", "removed"]
        .iter()
        .filter_map(|what| Some((what, part[what].as_u64()?)))
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    (!counts.is_empty()).then(|| counts.join(", "))
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in &self.outcomes {
            match &outcome.answer {
                None => {}
                Some(Ok(answer)) => {
                    write!(
                        out,
                        "{:<10} {}",
                        answer["course"].as_str().unwrap_or_default(),
                        outcome.slug
                    )?;
                    for part in [
                        "modules",
                        "lessons",
                        "blocks",
                        "prerequisites",
                        "skills",
                        "tags",
                    ] {
                        if let Some(counts) = counts(&answer[part]) {
                            write!(out, "; {part}: {counts}")?;
                        }
                    }
                    writeln!(out)?;
                }
                Some(Err(why)) => writeln!(out, "failed     {}: {why}", outcome.slug)?,
            }
            match &outcome.assessments {
                None => {}
                Some(Ok(answer)) => {
                    let parts = [
                        "assessments",
                        "sections",
                        "questions",
                        "answer_keys",
                        "skills",
                    ];
                    let parts: String = parts
                        .iter()
                        .filter_map(|part| Some((part, counts(&answer[part])?)))
                        .map(|(part, counts)| format!("; {}: {counts}", part.replace('_', " ")))
                        .collect();
                    let what = if answer["assessments"].is_null() {
                        "not checked; the course comes first"
                    } else if parts.is_empty() {
                        "unchanged"
                    } else {
                        parts.trim_start_matches("; ")
                    };
                    writeln!(out, "assessed   {}; {what}", outcome.slug)?;
                }
                Some(Err(why)) => {
                    writeln!(out, "failed     assessments of {}: {why}", outcome.slug)?;
                }
            }
        }
        if self.dry_run {
            writeln!(out, "a dry run: nothing was written")?;
        }
        if !self.not_imported.is_empty() {
            let parts: Vec<_> = self
                .not_imported
                .iter()
                .map(|(what, count)| format!("{what} ({count})"))
                .collect();
            writeln!(out, "not imported: {}", parts.join(", "))?;
        }
        if self.findings.is_empty() {
            return write!(out, "everything was taken as it stands");
        }
        writeln!(out, "\n{:<9} {:>8}  why", "action", "count")?;
        for (reason, tally) in &self.findings {
            let action = match reason.action {
                Action::Skipped => "skipped",
                Action::Repaired => "repaired",
                Action::Flagged => "flagged",
            };
            writeln!(
                out,
                "{action:<9} {:>8}  {}: {}",
                tally.rows, reason.code, reason.meaning
            )?;
        }
        write!(out, "each of them: {}", self.report_file.display())
    }
}
