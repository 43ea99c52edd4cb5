//! From the files into temporary tables: nothing lasting is written here.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use chrono::NaiveDate;
use indicatif::ProgressBar;
use tokio_postgres::Client;

use crate::import::copy::{Copy, Tuples};
use crate::import::csv_file::{CsvFile, Fields};
use crate::import::findings::{Findings, Remark};
use crate::import::progress;

use super::reasons;
use super::records::{
    ASSESSMENT_KINDS, Assessment, Mark, Presentation, Registration, Site, Student, Visit,
    assessment_number, presentation_of, student_id,
};

pub(super) const COURSES: &str = "courses.csv.gz";
pub(super) const SITES: &str = "vle.csv.gz";
pub(super) const STUDENTS: &str = "studentInfo.csv.gz";
pub(super) const REGISTRATIONS: &str = "studentRegistration.csv.gz";
pub(super) const VISITS: &str = "lesson_progress_all.csv.gz";
pub(super) const ASSESSMENTS: &str = "assessments.csv.gz";
pub(super) const RESULTS: &str = "studentAssessment.csv.gz";

const TABLES: &str = "
    create temporary table import_course (
      line bigint, id uuid primary key, tenant_id uuid, instructor_id uuid, tenant_slug text, module text,
      presentation text, slug text, title text, starts_on date, length_days integer
    );
    create temporary table import_site (
      line bigint, id uuid, course_id uuid, module_id uuid, activity_type text, id_site bigint,
      week_from integer, week_to integer
    );
    create temporary table import_student (line bigint, id uuid, label text, withdrawn boolean);
    create temporary table import_registration (
      line bigint, id uuid, course_id uuid, user_id uuid, label text, id_student bigint,
      registered_on date, unregistered_on date
    );
    create temporary table import_visit (
      line bigint, enrollment_id uuid, lesson_id uuid, label text, id_site bigint, first_on date, last_on date
    );
    create temporary table import_assessment (
      line bigint, id uuid primary key, question_id uuid, course_id uuid, number bigint, key text, kind text, title text,
      weight numeric, due_on date
    );
    create temporary table import_result (
      line bigint, id uuid, enrollment_id uuid, assessment_id uuid, label text, number bigint, submitted_on date,
      is_banked boolean, score numeric
    );
";

/// The files of a folder, opened, with the right first row.
pub(super) struct Files {
    courses: CsvFile,
    sites: CsvFile,
    students: CsvFile,
    registrations: CsvFile,
    visits: CsvFile,
    /// These two may be missing.
    assessments: Option<CsvFile>,
    results: Option<CsvFile>,
    bar: ProgressBar,
}

impl Files {
    /// Opens all files, so that a folder that is not the dataset is refused before anything else happens.
    pub fn open(dir: &Path, quiet: bool) -> Result<Self> {
        if !dir.is_dir() {
            bail!("{} is no folder", dir.display());
        }
        let missing: Vec<_> = [COURSES, SITES, STUDENTS, REGISTRATIONS, VISITS]
            .into_iter()
            .filter(|name| !dir.join(name).exists())
            .collect();
        if !missing.is_empty() {
            bail!(
                "{} lacks {}: it is not a folder of the OULAD import",
                dir.display(),
                missing.join(", ")
            );
        }
        let bar = progress::bar(quiet, "files", 0, progress::BYTES);
        let open = |name: &'static str, header: &'static [&'static str]| {
            CsvFile::open(dir, name, header, &bar)
        };
        let courses = open(
            COURSES,
            &[
                "code_module",
                "code_presentation",
                "module_presentation_length",
            ],
        )?;
        let sites = open(
            SITES,
            &[
                "id_site",
                "code_module",
                "code_presentation",
                "activity_type",
                "week_from",
                "week_to",
            ],
        )?;
        let students = open(
            STUDENTS,
            &[
                "code_module",
                "code_presentation",
                "id_student",
                "gender",
                "region",
                "highest_education",
                "imd_band",
                "age_band",
                "num_of_prev_attempts",
                "studied_credits",
                "disability",
                "final_result",
            ],
        )?;
        let registrations = open(
            REGISTRATIONS,
            &[
                "code_module",
                "code_presentation",
                "id_student",
                "date_registration",
                "date_unregistration",
            ],
        )?;
        let visits = open(
            VISITS,
            &[
                "code_module",
                "code_presentation",
                "id_student",
                "id_site",
                "first_day",
                "last_day",
                "active_days",
                "clicks",
            ],
        )?;
        let optional = |name: &'static str, header: &'static [&'static str]| {
            dir.join(name)
                .exists()
                .then(|| open(name, header))
                .transpose()
        };
        let assessments = optional(
            ASSESSMENTS,
            &[
                "code_module",
                "code_presentation",
                "id_assessment",
                "assessment_type",
                "date",
                "weight",
            ],
        )?;
        let results = optional(
            RESULTS,
            &[
                "id_assessment",
                "id_student",
                "date_submitted",
                "is_banked",
                "score",
            ],
        )?;
        Ok(Self {
            courses,
            sites,
            students,
            registrations,
            visits,
            assessments,
            results,
            bar,
        })
    }

    /// Reads every file to its end, so that one that is cut short is noticed before anything is written: the courses.
    pub async fn stage(
        mut self,
        client: &Client,
        findings: &mut Findings,
    ) -> Result<Vec<Presentation>> {
        client
            .batch_execute(TABLES)
            .await
            .context("temporary tables cannot be made")?;
        let courses = read_courses(&mut self.courses, findings)?;
        if courses.is_empty() {
            bail!(
                "{COURSES} holds no usable course; see {}",
                findings.path().display()
            );
        }
        stage_courses(client, &courses).await?;
        load(
            client,
            "import_site",
            self.sites,
            findings,
            |fields, row| {
                let course = presentation_of(&courses, fields)?;
                let (site, remarks) = Site::parse(fields)?;
                row.plain(course.part_id("site", site.id))
                    .plain(course.id())
                    .plain(course.part_id("module", site.activity_type))
                    .text(site.activity_type)
                    .plain(site.id)
                    .optional(site.weeks.0)
                    .optional(site.weeks.1);
                Ok(remarks)
            },
        )
        .await?;
        load(
            client,
            "import_student",
            self.students,
            findings,
            |fields, row| {
                let course = presentation_of(&courses, fields)?;
                let (student, remarks) = Student::parse(fields)?;
                row.plain(course.part_id("registration", student.student))
                    .text(&label(course, student.student))
                    .plain(student.withdrawn);
                Ok(remarks)
            },
        )
        .await?;
        load(
            client,
            "import_registration",
            self.registrations,
            findings,
            |fields, row| {
                let course = presentation_of(&courses, fields)?;
                let (registration, remarks) = Registration::parse(fields, course)?;
                row.plain(course.part_id("registration", registration.student))
                    .plain(course.id())
                    .plain(student_id(registration.student))
                    .text(&label(course, registration.student))
                    .plain(registration.student)
                    .optional(registration.registered_on)
                    .optional(registration.unregistered_on);
                Ok(remarks)
            },
        )
        .await?;
        load(
            client,
            "import_visit",
            self.visits,
            findings,
            |fields, row| {
                let course = presentation_of(&courses, fields)?;
                let (visit, remarks) = Visit::parse(fields, course)?;
                row.plain(course.part_id("registration", visit.student))
                    .plain(course.part_id("site", visit.site))
                    .text(&label(course, visit.student))
                    .plain(visit.site)
                    .plain(visit.first_on)
                    .plain(visit.last_on);
                Ok(remarks)
            },
        )
        .await?;
        let mut of_assessments = HashMap::new();
        if let Some(file) = self.assessments {
            of_assessments = stage_assessments(client, findings, file, &courses).await?;
        }
        if let Some(file) = self.results {
            load(client, "import_result", file, findings, |fields, row| {
                let number = assessment_number(fields)?;
                let (course, due_on) = of_assessments.get(&number).copied().ok_or_else(|| {
                    Remark::new(&reasons::UNKNOWN_ASSESSMENT, format!("assessment {number}"))
                })?;
                let course: &Presentation = course;
                let (mark, remarks) = Mark::parse(fields, course)?;
                row.plain(course.part_id("result", format!("{number}/{}", mark.student)))
                    .plain(course.part_id("registration", mark.student))
                    .plain(course.part_id("assessment", number))
                    .text(&label(course, mark.student))
                    .plain(number)
                    .plain(mark.submitted_on.or(due_on).unwrap_or(course.starts_on))
                    .plain(mark.is_banked)
                    .optional(mark.score.as_deref());
                Ok(remarks)
            })
            .await?;
        }
        self.bar.finish_and_clear();
        client
            .batch_execute("analyze import_result; analyze import_site; analyze import_student; analyze import_registration; analyze import_visit")
            .await?;
        Ok(courses)
    }
}

/// What a report calls an enrolment.
fn label(course: &Presentation, student: u64) -> String {
    format!("{} {}, student {student}", course.module, course.code)
}

/// The courses are the one file that is kept in memory: every other row is looked up in it.
fn read_courses(file: &mut CsvFile, findings: &mut Findings) -> Result<Vec<Presentation>> {
    let mut courses: Vec<Presentation> = Vec::new();
    while let Some(line) = file.read()? {
        let number = line.number;
        let remark = match line.fields.and_then(Presentation::parse) {
            Ok(course) if courses.iter().all(|other| other.id() != course.id()) => {
                courses.push(course);
                continue;
            }
            Ok(course) => Remark::new(
                &reasons::DUPLICATE,
                format!("{} {}", course.module, course.code),
            ),
            Err(remark) => remark,
        };
        findings.add(COURSES, number, &remark, None)?;
    }
    Ok(courses)
}

async fn stage_courses(client: &Client, courses: &[Presentation]) -> Result<()> {
    let mut copy = Copy::begin(
        client,
        "import_course (id, instructor_id, tenant_slug, module, presentation, slug, title, starts_on, length_days)",
    )
    .await?;
    for course in courses {
        let row = copy.tuples();
        row.plain(course.id())
            .plain(instructor_id(&course.module))
            .plain(course.tenant_slug())
            .text(&course.module)
            .text(&course.code)
            .plain(course.slug())
            .text(&course.title())
            .plain(course.starts_on)
            .plain(course.length_days);
        row.end();
        copy.send_if_many().await?;
    }
    copy.finish().await?;
    Ok(())
}

/// Copies the assessments. They are kept in memory as well, since results name them alone: the course of each, and when it
/// is due. The first of a number stands.
async fn stage_assessments<'a>(
    client: &Client,
    findings: &mut Findings,
    mut file: CsvFile,
    courses: &'a [Presentation],
) -> Result<HashMap<u64, (&'a Presentation, Option<NaiveDate>)>> {
    let mut found = HashMap::new();
    let mut copy = Copy::begin(client, "import_assessment").await?;
    while let Some(line) = file.read()? {
        let number = line.number;
        let parsed = line.fields.and_then(|fields| {
            let course = presentation_of(courses, fields)?;
            let (assessment, remarks) = Assessment::parse(fields, course)?;
            if found.contains_key(&assessment.number) {
                return Err(Remark::new(
                    &reasons::DUPLICATE,
                    format!("assessment {}", assessment.number),
                ));
            }
            Ok((course, assessment, remarks))
        });
        let (course, assessment, remarks) = match parsed {
            Ok(parsed) => parsed,
            Err(remark) => {
                findings.add(ASSESSMENTS, number, &remark, None)?;
                continue;
            }
        };
        for remark in &remarks {
            findings.add(ASSESSMENTS, number, remark, None)?;
        }
        let kind = ASSESSMENT_KINDS
            .iter()
            .find(|(known, _)| *known == assessment.kind)
            .map_or("assignment", |(_, kind)| kind);
        let row = copy.tuples();
        row.plain(number)
            .plain(course.part_id("assessment", assessment.number))
            .plain(course.part_id("question", assessment.number))
            .plain(course.id())
            .plain(assessment.number)
            .text(&assessment.key())
            .plain(kind)
            .text(&assessment.title())
            .plain(&assessment.weight)
            .optional(assessment.due_on);
        row.end();
        found.insert(assessment.number, (course, assessment.due_on));
        copy.send_if_many().await?;
    }
    copy.finish().await?;
    Ok(found)
}

/// Id of the neutral person in charge of a module's courses.
pub(super) fn instructor_id(module: &str) -> uuid::Uuid {
    super::records::id("instructor", module)
}

/// Copies a file's rows, each preceded by its line, and records what is wrong with them.
async fn load(
    client: &Client,
    table: &'static str,
    mut file: CsvFile,
    findings: &mut Findings,
    mut parse: impl FnMut(Fields<'_>, &mut Tuples) -> Result<Vec<Remark>, Remark>,
) -> Result<()> {
    let name = file.name().to_owned();
    let mut copy = Copy::begin(client, table).await?;
    while let Some(line) = file.read()? {
        let row = copy.tuples();
        row.plain(line.number);
        match line.fields.and_then(|fields| parse(fields, row)) {
            Ok(remarks) => {
                row.end();
                for remark in &remarks {
                    findings.add(&name, line.number, remark, None)?;
                }
            }
            Err(remark) => {
                row.cancel();
                findings.add(&name, line.number, &remark, None)?;
            }
        }
        copy.send_if_many().await?;
    }
    copy.finish().await?;
    Ok(())
}
