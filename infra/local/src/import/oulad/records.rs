//! The rows of the dataset, checked: no input or output here.

use chrono::{Days, NaiveDate};
use uuid::Uuid;

use crate::import::csv_file::{Fields, MISSING_VALUE};
use crate::import::findings::Remark;

use super::reasons;

/// Days from the start of a presentation that are taken for real: two years before it, one year after its end.
const EARLIEST_DAY: i32 = -730;
const LATEST_DAY_AFTER_END: i32 = 366;

/// One presentation of an Open University module: a course.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    /// Code of the module, such as `AAA`.
    pub module: String,
    /// Code of the presentation, such as `2013J`.
    pub code: String,
    /// Day 0.
    pub starts_on: NaiveDate,
    /// How long it lasts, in days.
    pub length_days: i32,
}

/// A site of the virtual learning environment: a lesson.
#[derive(Debug, PartialEq, Eq)]
pub struct Site<'a> {
    pub id: u64,
    pub activity_type: &'a str,
    /// First and last week for which it is planned.
    pub weeks: (Option<u16>, Option<u16>),
}

/// A registration: an enrolment.
#[derive(Debug, PartialEq, Eq)]
pub struct Registration {
    pub student: u64,
    pub registered_on: Option<NaiveDate>,
    pub unregistered_on: Option<NaiveDate>,
}

/// What the students' file says of a registration.
#[derive(Debug, PartialEq, Eq)]
pub struct Student {
    pub student: u64,
    pub withdrawn: bool,
}

/// All that a student did at one site.
#[derive(Debug, PartialEq, Eq)]
pub struct Visit {
    pub student: u64,
    pub site: u64,
    pub first_on: NaiveDate,
    pub last_on: NaiveDate,
}

/// An assessment of a presentation.
#[derive(Debug, PartialEq)]
pub struct Assessment {
    pub number: u64,
    /// `TMA`, `CMA` or `Exam`, as the file has it.
    pub kind: String,
    /// As the file has it, checked to be a number from 0 to 1000 with at most two decimals.
    pub weight: String,
    /// The last day on which it is handed in.
    pub due_on: Option<NaiveDate>,
}

/// What a student got for an assessment.
#[derive(Debug, PartialEq, Eq)]
pub struct Mark {
    pub student: u64,
    pub submitted_on: Option<NaiveDate>,
    /// Carried over from an earlier presentation.
    pub is_banked: bool,
    /// As the file has it, checked to be a number from 0 to 100 with at most two decimals.
    pub score: Option<String>,
}

/// A row and the remarks on what had to be changed in it.
pub type Parsed<T> = Result<(T, Vec<Remark>), Remark>;

/// Everything imported has an id made of what the dataset calls it: importing twice meets the same rows.
pub fn id(kind: &str, key: &str) -> Uuid {
    let dataset = Uuid::new_v5(
        &Uuid::NAMESPACE_URL,
        b"https://doi.org/10.1038/sdata.2017.171",
    );
    Uuid::new_v5(&dataset, format!("{kind}/{key}").as_bytes())
}

/// Id of a student's login; the same in every module.
pub fn student_id(student: u64) -> Uuid {
    id("student", &student.to_string())
}

impl Presentation {
    /// Reads a row of the courses' file.
    pub fn parse(fields: Fields<'_>) -> Result<Self, Remark> {
        let module = fields.text("code_module")?;
        if module.len() > 20
            || !module
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        {
            return Err(Remark::new(
                &reasons::BAD_CODE,
                format!("code_module is «{module}»"),
            ));
        }
        let code = fields.text("code_presentation")?;
        let starts_on = start_of(code).ok_or_else(|| {
            Remark::new(&reasons::BAD_CODE, format!("code_presentation is «{code}»"))
        })?;
        let length_days = fields.number("module_presentation_length")?;
        if !(1..=1000).contains(&length_days) {
            return Err(Remark::new(
                &reasons::ABSURD_LENGTH,
                format!("{length_days} days"),
            ));
        }
        Ok(Self {
            module: module.to_owned(),
            code: code.to_owned(),
            starts_on,
            length_days,
        })
    }

    /// Slug of the module's tenant.
    pub fn tenant_slug(&self) -> String {
        format!("oulad-{}", self.module.to_ascii_lowercase())
    }

    /// Slug of the course.
    pub fn slug(&self) -> String {
        format!("{}-{}", self.module, self.code).to_ascii_lowercase()
    }

    /// Title of the course.
    pub fn title(&self) -> String {
        format!("Module {}, {}", self.module, self.starts_on.format("%B %Y"))
    }

    /// Id of the course.
    pub fn id(&self) -> Uuid {
        id("course", &format!("{}/{}", self.module, self.code))
    }

    /// Id of something within the course.
    pub fn part_id(&self, kind: &str, key: impl std::fmt::Display) -> Uuid {
        id(kind, &format!("{}/{}/{key}", self.module, self.code))
    }

    /// The date of a day counted from the start, unless it is absurd.
    fn date(&self, day: i32) -> Option<NaiveDate> {
        if !(EARLIEST_DAY..=self.length_days + LATEST_DAY_AFTER_END).contains(&day) {
            return None;
        }
        let days = Days::new(u64::from(day.unsigned_abs()));
        if day < 0 {
            self.starts_on.checked_sub_days(days)
        } else {
            self.starts_on.checked_add_days(days)
        }
    }

    /// A field that may be empty; what is wrong with it when it is not empty and no date.
    fn optional_date(&self, fields: Fields<'_>, column: &str) -> Result<Option<NaiveDate>, String> {
        match fields.number::<i32>(column) {
            Ok(day) => self
                .date(day)
                .map(Some)
                .ok_or_else(|| format!("{column} is day {day}")),
            Err(remark) if remark.reason == &MISSING_VALUE => Ok(None),
            Err(remark) => Err(remark.detail),
        }
    }
}

/// Day 0: `B` presentations start on 1 February, `J` ones on 1 October.
fn start_of(code: &str) -> Option<NaiveDate> {
    let (year, half) = code.split_at_checked(4)?;
    if !year.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let month = match half {
        "B" => 2,
        "J" => 10,
        _ => return None,
    };
    NaiveDate::from_ymd_opt(
        year.parse()
            .ok()
            .filter(|year| (1970..=2200).contains(year))?,
        month,
        1,
    )
}

/// The presentation that a row belongs to.
pub fn presentation_of<'a>(
    courses: &'a [Presentation],
    fields: Fields<'_>,
) -> Result<&'a Presentation, Remark> {
    let (module, code) = (
        fields.text("code_module")?,
        fields.text("code_presentation")?,
    );
    courses
        .iter()
        .find(|course| course.module == module && course.code == code)
        .ok_or_else(|| {
            Remark::new(
                &reasons::UNKNOWN_COURSE,
                format!("{module} {code} is not in courses.csv.gz"),
            )
        })
}

impl<'a> Site<'a> {
    /// Reads a row of the sites' file.
    pub fn parse(fields: Fields<'a>) -> Parsed<Self> {
        let activity_type = fields.text("activity_type")?;
        if activity_type.len() > 200 || activity_type.chars().any(char::is_control) {
            return Err(Remark::new(
                &reasons::BAD_CODE,
                format!("activity_type is «{}»", activity_type.escape_debug()),
            ));
        }
        let mut remarks = Vec::new();
        let mut week = |column: &str| match fields.number(column) {
            Ok(week) => Some(week),
            Err(remark) => {
                if remark.reason != &MISSING_VALUE {
                    remarks.push(Remark::new(&reasons::WEEK_LEFT_OUT, remark.detail));
                }
                None
            }
        };
        let weeks = (week("week_from"), week("week_to"));
        Ok((
            Self {
                id: site_number(fields)?,
                activity_type,
                weeks,
            },
            remarks,
        ))
    }
}

impl Registration {
    /// Reads a row of the registrations' file.
    pub fn parse(fields: Fields<'_>, course: &Presentation) -> Parsed<Self> {
        let student = student_number(fields)?;
        let mut remarks = Vec::new();
        let registered_on = course
            .optional_date(fields, "date_registration")
            .unwrap_or_else(|detail| {
                remarks.push(Remark::new(&reasons::REGISTRATION_DATE_UNUSABLE, detail));
                None
            });
        if registered_on.is_none() && remarks.is_empty() {
            remarks.push(Remark::new(
                &reasons::REGISTRATION_DATE_UNUSABLE,
                "date_registration is empty",
            ));
        }
        let unregistered_on = course
            .optional_date(fields, "date_unregistration")
            .unwrap_or_else(|detail| {
                remarks.push(Remark::new(&reasons::UNREGISTRATION_DATE_UNUSABLE, detail));
                None
            });
        Ok((
            Self {
                student,
                registered_on,
                unregistered_on,
            },
            remarks,
        ))
    }
}

impl Student {
    /// Reads a row of the students' file.
    pub fn parse(fields: Fields<'_>) -> Parsed<Self> {
        let withdrawn = fields.optional("final_result") == Some("Withdrawn");
        Ok((
            Self {
                student: student_number(fields)?,
                withdrawn,
            },
            Vec::new(),
        ))
    }
}

impl Visit {
    /// Reads a row of the visits' file.
    pub fn parse(fields: Fields<'_>, course: &Presentation) -> Parsed<Self> {
        let (student, site) = (student_number(fields)?, site_number(fields)?);
        let first_day = fields.number("first_day")?;
        let first_on = course.date(first_day).ok_or_else(|| {
            Remark::new(
                &reasons::ABSURD_DAY,
                format!("first_day is day {first_day}"),
            )
        })?;
        let mut remarks = Vec::new();
        let mut repair = |detail: String| {
            remarks.push(Remark::new(&reasons::LAST_DAY_UNUSABLE, detail));
            first_on
        };
        let last_on = match course.optional_date(fields, "last_day") {
            Ok(Some(date)) if date >= first_on => date,
            Ok(Some(_)) => repair("last_day is before first_day".to_owned()),
            Ok(None) => repair("last_day is empty".to_owned()),
            Err(detail) => repair(detail),
        };
        Ok((
            Self {
                student,
                site,
                first_on,
                last_on,
            },
            remarks,
        ))
    }
}

/// Kinds of assessments, and what they are in Lyceum.
pub const ASSESSMENT_KINDS: [(&str, &str); 3] =
    [("TMA", "assignment"), ("CMA", "quiz"), ("Exam", "exam")];

impl Assessment {
    /// Reads a row of the assessments' file.
    pub fn parse(fields: Fields<'_>, course: &Presentation) -> Parsed<Self> {
        let number = assessment_number(fields)?;
        let kind = fields.text("assessment_type")?;
        if ASSESSMENT_KINDS.iter().all(|(known, _)| *known != kind) {
            return Err(Remark::new(
                &reasons::BAD_CODE,
                format!("assessment_type is «{}»", kind.escape_debug()),
            ));
        }
        let weight = decimal(fields, "weight", 1000.0)?;
        let mut remarks = Vec::new();
        let due_on = course
            .optional_date(fields, "date")
            .unwrap_or_else(|detail| {
                remarks.push(Remark::new(&reasons::DUE_DATE_UNKNOWN, detail));
                None
            });
        if due_on.is_none() && remarks.is_empty() {
            remarks.push(Remark::new(&reasons::DUE_DATE_UNKNOWN, "date is empty"));
        }
        Ok((
            Self {
                number,
                kind: kind.to_owned(),
                weight,
                due_on,
            },
            remarks,
        ))
    }

    /// Key of the assessment in its course.
    pub fn key(&self) -> String {
        format!("{}-{}", self.kind.to_ascii_lowercase(), self.number)
    }

    /// Its title.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind, self.number)
    }
}

impl Mark {
    /// Reads a row of the results' file.
    pub fn parse(fields: Fields<'_>, course: &Presentation) -> Parsed<Self> {
        let student = student_number(fields)?;
        let mut remarks = Vec::new();
        let submitted_on = course
            .optional_date(fields, "date_submitted")
            .unwrap_or_else(|detail| {
                remarks.push(Remark::new(&reasons::SUBMISSION_DATE_UNUSABLE, detail));
                None
            });
        if submitted_on.is_none() && remarks.is_empty() {
            remarks.push(Remark::new(
                &reasons::SUBMISSION_DATE_UNUSABLE,
                "date_submitted is empty",
            ));
        }
        let score = if fields.optional("score").is_some() {
            Some(decimal(fields, "score", 100.0)?)
        } else {
            remarks.push(Remark::new(&reasons::NO_SCORE, "score is empty"));
            None
        };
        let is_banked = fields.optional("is_banked") == Some("1");
        if is_banked {
            remarks.push(Remark::new(&reasons::BANKED, "is_banked is 1"));
        }
        Ok((
            Self {
                student,
                submitted_on,
                is_banked,
                score,
            },
            remarks,
        ))
    }
}

/// A number from 0 that goes into a `numeric` column as it is written.
fn decimal(fields: Fields<'_>, column: &str, most: f64) -> Result<String, Remark> {
    let text = fields.text(column)?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_decimal = match text.split_once('.') {
        Some((whole, rest)) => digits(whole) && digits(rest) && rest.len() <= 2,
        None => digits(text),
    };
    if !is_decimal {
        return Err(Remark::new(
            &crate::import::csv_file::NOT_A_NUMBER,
            format!("{column} is «{}»", text.escape_debug()),
        ));
    }
    if !text.parse::<f64>().is_ok_and(|number| number <= most) {
        return Err(Remark::new(
            &reasons::ABSURD_NUMBER,
            format!("{column} is {text}"),
        ));
    }
    Ok(text.to_owned())
}

/// Keys go into `bigint` columns.
fn key(fields: Fields<'_>, column: &str) -> Result<u64, Remark> {
    let number: u64 = fields.number(column)?;
    if i64::try_from(number).is_err() {
        return Err(Remark::new(
            &crate::import::csv_file::NOT_A_NUMBER,
            format!("{column} is «{number}»"),
        ));
    }
    Ok(number)
}

fn student_number(fields: Fields<'_>) -> Result<u64, Remark> {
    key(fields, "id_student")
}

pub fn assessment_number(fields: Fields<'_>) -> Result<u64, Remark> {
    key(fields, "id_assessment")
}

fn site_number(fields: Fields<'_>) -> Result<u64, Remark> {
    key(fields, "id_site")
}

#[cfg(test)]
mod tests {
    use crate::import::csv_file::NOT_A_NUMBER;
    use crate::import::csv_file::tests::Sample;

    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn course() -> Presentation {
        Presentation {
            module: "AAA".into(),
            code: "2013J".into(),
            starts_on: date("2013-10-01"),
            length_days: 268,
        }
    }

    fn with_row<T>(
        header: &'static [&'static str],
        row: &str,
        read: impl FnOnce(Fields<'_>) -> T,
    ) -> T {
        let sample = Sample::new(format!("{}\n{row}\n", header.join(",")).as_bytes());
        let mut file = sample.open(header).unwrap();
        let line = file.read().unwrap().unwrap();
        read(line.fields.unwrap())
    }

    #[test]
    fn presentations_start_in_february_or_october() {
        assert_eq!(start_of("2013B"), Some(date("2013-02-01")));
        assert_eq!(start_of("2014J"), Some(date("2014-10-01")));
        for wrong in [
            "2013",
            "2013X",
            "2013JJ",
            "B2013",
            "+201B",
            "0000B",
            "201\u{e9}B",
            "",
        ] {
            assert_eq!(start_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn days_count_from_the_start_within_reason() {
        assert_eq!(course().date(0), Some(date("2013-10-01")));
        assert_eq!(course().date(-159), Some(date("2013-04-25")));
        assert_eq!(course().date(268), Some(date("2014-06-26")));
        assert_eq!(course().date(-731), None);
        assert_eq!(course().date(268 + 367), None);
        assert_eq!(course().date(i32::MIN), None);
    }

    #[test]
    fn names_of_a_course() {
        let course = course();
        assert_eq!(course.tenant_slug(), "oulad-aaa");
        assert_eq!(course.slug(), "aaa-2013j");
        assert_eq!(course.title(), "Module AAA, October 2013");
        assert_eq!(course.id(), self::course().id());
        assert_ne!(course.part_id("site", 1), course.part_id("registration", 1));
        assert_eq!(student_id(11391).get_version_num(), 5);
    }

    #[test]
    fn courses_are_checked() {
        const HEADER: &[&str] = &[
            "code_module",
            "code_presentation",
            "module_presentation_length",
        ];
        assert_eq!(
            with_row(HEADER, "AAA,2013J,268", Presentation::parse),
            Ok(course())
        );
        for (row, reason) in [
            ("aaa,2013J,268", &reasons::BAD_CODE),
            ("A A,2013J,268", &reasons::BAD_CODE),
            ("AAA,2013,268", &reasons::BAD_CODE),
            ("AAA,2013J,0", &reasons::ABSURD_LENGTH),
            ("AAA,2013J,x", &NOT_A_NUMBER),
            (",2013J,268", &MISSING_VALUE),
        ] {
            assert_eq!(
                with_row(HEADER, row, Presentation::parse)
                    .unwrap_err()
                    .reason,
                reason,
                "{row}"
            );
        }
        let unknown = with_row(HEADER, "AAA,2014J,1", |fields| {
            presentation_of(&[course()], fields).unwrap_err()
        });
        assert_eq!(
            unknown,
            Remark::new(
                &reasons::UNKNOWN_COURSE,
                "AAA 2014J is not in courses.csv.gz"
            )
        );
    }

    #[test]
    fn registrations_keep_what_can_be_kept() {
        const HEADER: &[&str] = &["id_student", "date_registration", "date_unregistration"];
        let parse = |row| with_row(HEADER, row, |fields| Registration::parse(fields, &course()));
        let (registration, remarks) = parse("7,-1,12").unwrap();
        assert_eq!(registration.registered_on, Some(date("2013-09-30")));
        assert_eq!(registration.unregistered_on, Some(date("2013-10-13")));
        assert!(remarks.is_empty());

        let (registration, remarks) = parse("7,,99999").unwrap();
        assert_eq!(
            registration,
            Registration {
                student: 7,
                registered_on: None,
                unregistered_on: None
            }
        );
        assert_eq!(
            remarks,
            [
                Remark::new(
                    &reasons::REGISTRATION_DATE_UNUSABLE,
                    "date_registration is empty"
                ),
                Remark::new(
                    &reasons::UNREGISTRATION_DATE_UNUSABLE,
                    "date_unregistration is day 99999"
                ),
            ]
        );
        assert_eq!(
            parse("7,soon,").unwrap().1[0].reason,
            &reasons::REGISTRATION_DATE_UNUSABLE
        );
        assert_eq!(parse("-7,1,").unwrap_err().reason, &NOT_A_NUMBER);
        assert_eq!(
            parse("18446744073709551615,1,").unwrap_err().reason,
            &NOT_A_NUMBER
        );
    }

    #[test]
    fn visits_need_a_first_day_and_get_a_last_one() {
        const HEADER: &[&str] = &["id_student", "id_site", "first_day", "last_day"];
        let parse = |row| with_row(HEADER, row, |fields| Visit::parse(fields, &course()));
        let (visit, remarks) = parse("7,9,-10,268").unwrap();
        assert_eq!(
            visit,
            Visit {
                student: 7,
                site: 9,
                first_on: date("2013-09-21"),
                last_on: date("2014-06-26")
            }
        );
        assert!(remarks.is_empty());
        for row in ["7,9,3,2", "7,9,3,", "7,9,3,x", "7,9,3,5000"] {
            let (visit, remarks) = parse(row).unwrap();
            assert_eq!(visit.last_on, visit.first_on, "{row}");
            assert_eq!(remarks[0].reason, &reasons::LAST_DAY_UNUSABLE, "{row}");
        }
        assert_eq!(
            parse("7,9,5000,5001").unwrap_err().reason,
            &reasons::ABSURD_DAY
        );
        assert_eq!(parse("7,9,,1").unwrap_err().reason, &MISSING_VALUE);
    }

    #[test]
    fn assessments_have_a_known_kind_and_a_weight() {
        const HEADER: &[&str] = &["id_assessment", "assessment_type", "date", "weight"];
        let parse = |row| with_row(HEADER, row, |fields| Assessment::parse(fields, &course()));
        let (assessment, remarks) = parse("1752,TMA,19,12.5").unwrap();
        assert_eq!(assessment.due_on, Some(date("2013-10-20")));
        assert_eq!(
            (assessment.key().as_str(), assessment.weight.as_str()),
            ("tma-1752", "12.5")
        );
        assert!(remarks.is_empty());
        let (exam, remarks) = parse("1757,Exam,,100.0").unwrap();
        assert_eq!((exam.due_on, remarks.len()), (None, 1));
        assert_eq!(remarks[0].reason, &reasons::DUE_DATE_UNKNOWN);
        for (row, reason) in [
            ("1,Riddle,1,10", &reasons::BAD_CODE),
            ("1,TMA,1,-10", &NOT_A_NUMBER),
            ("1,TMA,1,NaN", &NOT_A_NUMBER),
            ("1,TMA,1,1e3", &NOT_A_NUMBER),
            ("1,TMA,1,1000.01", &reasons::ABSURD_NUMBER),
            ("1,TMA,1,", &MISSING_VALUE),
        ] {
            assert_eq!(parse(row).unwrap_err().reason, reason, "{row}");
        }
    }

    #[test]
    fn marks_may_lack_a_score_and_be_banked() {
        const HEADER: &[&str] = &["id_student", "date_submitted", "is_banked", "score"];
        let parse = |row| with_row(HEADER, row, |fields| Mark::parse(fields, &course()));
        let (mark, remarks) = parse("7,18,0,78").unwrap();
        assert_eq!(
            mark,
            Mark {
                student: 7,
                submitted_on: Some(date("2013-10-19")),
                is_banked: false,
                score: Some("78".to_owned())
            }
        );
        assert!(remarks.is_empty());
        let (mark, remarks) = parse("7,-1,1,?").unwrap();
        assert!(mark.is_banked && mark.score.is_none());
        let reasons: Vec<_> = remarks.iter().map(|remark| remark.reason.code).collect();
        assert_eq!(reasons, ["no_score", "banked"]);
        assert_eq!(
            parse("7,,0,5").unwrap().1[0].reason,
            &reasons::SUBMISSION_DATE_UNUSABLE
        );
        assert_eq!(
            parse("7,1,0,100.5").unwrap_err().reason,
            &reasons::ABSURD_NUMBER
        );
        assert_eq!(parse("7,1,0,-1").unwrap_err().reason, &NOT_A_NUMBER);
    }

    #[test]
    fn sites_do_without_weeks() {
        const HEADER: &[&str] = &["id_site", "activity_type", "week_from", "week_to"];
        let parse = |row| {
            with_row(HEADER, row, |fields| {
                Site::parse(fields).map(|(site, remarks)| (site.weeks, remarks))
            })
        };
        assert_eq!(parse("1,resource,,"), Ok(((None, None), Vec::new())));
        assert_eq!(
            parse("1,resource,2,3"),
            Ok(((Some(2), Some(3)), Vec::new()))
        );
        let (weeks, remarks) = parse("1,resource,2,x").unwrap();
        assert_eq!(
            (weeks, remarks[0].reason),
            ((Some(2), None), &reasons::WEEK_LEFT_OUT)
        );
        assert_eq!(parse("1,,,").unwrap_err().reason, &MISSING_VALUE);
    }
}
