//! `lyceum import oulad`: the numbers in the database are those of the files, and importing again changes nothing.
//!
//! The files are read here by other means than the import's own.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chrono::{Days, NaiveDate};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lyceum_e2e::{Options, Sandbox, program, root};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

const PLAIN: Options = Options {
    functions: false,
    seed: false,
};

/// An enrolment as the files or the database have it: by course and student.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    items_done: i32,
    items_total: i32,
    /// With two decimals, as PostgreSQL prints it.
    percentage: String,
    dropped_on: Option<NaiveDate>,
    enrolled_on: NaiveDate,
}

type Standings = BTreeMap<(String, String), Standing>;

#[tokio::test(flavor = "multi_thread")]
async fn progress_equals_the_files_after_an_interruption_and_again() -> Result<()> {
    let Some(dir) = data() else {
        println!(
            "skipped: there is no ../shared/data/oulad beside the checkout, and no folder oulad in $LYCEUM_DATA"
        );
        return Ok(());
    };
    let sandbox = Sandbox::start(PLAIN)?;
    let database = admin(&sandbox).await?;

    // Killed in the middle of the visits, and run again.
    let mut import = import_command(&sandbox, &dir)
        .stdout(Stdio::null())
        .spawn()?;
    let begun = Instant::now();
    while count(&database, "select count(*) from lms.lesson_progress").await? == 0 {
        assert!(
            import.try_wait()?.is_none(),
            "the import ended without a visit"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(600),
            "no visit after ten minutes"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    import.kill()?;
    import.wait()?;
    let summary = succeeded(import_command(&sandbox, &dir).output()?);
    println!("{summary}");

    let expected = standings_of_files(&dir)?;
    let found = standings_of_database(&database).await?;
    assert_eq!(expected.len(), 3282);
    let differences: Vec<_> = expected
        .iter()
        .filter(|(key, standing)| found.get(*key) != Some(standing))
        .take(5)
        .collect();
    assert!(differences.is_empty(), "the files say {differences:#?}");
    assert_eq!(found.len(), expected.len());
    assert_eq!(
        count(&database, "select count(*) from lms.lesson_progress").await?,
        121_293
    );
    assert_eq!(
        count(
            &database,
            "select count(*) from lms.lesson_progress where progress_percentage <> 100"
        )
        .await?,
        0
    );

    // Each mark, and the weighted mark of each learner.
    let (marks, grades) = marks_of_files(&dir)?;
    assert_eq!(marks.len(), 18_368);
    assert_eq!(marks_of_database(&database).await?, marks);
    let found = grades_of_database(&database).await?;
    let differences: Vec<_> = grades
        .iter()
        .filter(|(key, grade)| found.get(*key) != Some(grade))
        .take(5)
        .collect();
    assert!(differences.is_empty(), "the files say {differences:#?}");
    assert_eq!(found.len(), grades.len());
    assert!(grades.values().any(|grade| grade != "0.00"));
    for (reason, expected) in [
        (
            "no_score",
            rows(&dir, "studentAssessment")?
                .iter()
                .filter(|row| row[4].is_empty())
                .count(),
        ),
        (
            "banked",
            rows(&dir, "studentAssessment")?
                .iter()
                .filter(|row| row[3] == "1")
                .count(),
        ),
    ] {
        let lines = listed(&summary)?;
        let found = lines.iter().filter(|line| line["reason"] == reason).count();
        assert_eq!((reason, found), (reason, expected));
    }
    let late: Vec<_> = listed(&summary)?
        .into_iter()
        .filter(|line| line["reason"] == "visit_after_unregistration")
        .collect();
    let enrollments: BTreeSet<_> = late
        .iter()
        .map(|line| line["enrollment"].to_string())
        .collect();
    assert_eq!((late.len(), enrollments.len()), (65, 12));
    assert!(late.iter().all(|line| line["action"] == "flagged"));

    // The learner meets the own numbers, and nobody else's, through the API.
    let ((course, student), standing) = expected
        .iter()
        .max_by_key(|(_, standing)| standing.items_done)
        .context("there are enrolments")?;
    let learner: Uuid = database
        .query_one(
            "select id from auth.users where email = $1",
            &[&format!("student-{student}@oulad.example")],
        )
        .await?
        .get(0);
    let token = sandbox.token(&json!({ "sub": learner, "role": "authenticated" }))?;
    let answer = sandbox
        .bearer(learner, &token)
        .get("/rest/v1/enrollments?select=user_id,items_done,progress_percentage,courses(slug)")
        .await?;
    let own = answer
        .rows()
        .iter()
        .find(|row| row["courses"]["slug"] == course.as_str())
        .context("the own course")?;
    assert_eq!(own["items_done"], standing.items_done);
    assert!(
        answer
            .rows()
            .iter()
            .all(|row| row["user_id"] == learner.to_string())
    );

    let before = checksums(&database).await?;
    let summary = succeeded(import_command(&sandbox, &dir).output()?);
    assert!(
        summary.contains("nothing changed: everything was there already"),
        "{summary}"
    );
    assert_eq!(checksums(&database).await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_rows_are_kept_where_possible_and_always_listed() -> Result<()> {
    let sandbox = Sandbox::start(PLAIN)?;
    let database = admin(&sandbox).await?;
    let folder = Folder::new()?;
    let registrations = write_odd_files(&folder)?;

    let summary = succeeded(import_command(&sandbox, &folder.0).output()?);
    println!("{summary}");
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in listed(&summary)? {
        let place = format!(
            "{}:{}",
            line["file"]
                .as_str()
                .unwrap_or_default()
                .trim_end_matches(".csv.gz"),
            line["line"]
        );
        let reason = format!(
            "{} {}",
            line["action"].as_str().unwrap_or_default(),
            line["reason"].as_str().unwrap_or_default()
        );
        reasons.entry(reason).or_default().push(place);
    }
    let expected = BTreeMap::from(
        [
            ("flagged banked", vec!["studentAssessment:3"]),
            ("flagged due_date_unknown", vec!["assessments:3"]),
            (
                "flagged late",
                vec!["studentAssessment:4", "studentAssessment:6"],
            ),
            (
                "flagged no_score",
                vec!["studentAssessment:6", "studentAssessment:12"],
            ),
            (
                "flagged result_after_unregistration",
                vec!["studentAssessment:4"],
            ),
            (
                "repaired submission_date_unusable",
                vec!["studentAssessment:5", "studentAssessment:12"],
            ),
            (
                "skipped absurd_number",
                vec!["assessments:7", "studentAssessment:7"],
            ),
            ("skipped result_not_registered", vec!["studentAssessment:8"]),
            ("skipped unknown_assessment", vec!["studentAssessment:9"]),
            (
                "flagged completed_and_unregistered",
                vec!["studentRegistration:3"],
            ),
            (
                "flagged no_activity",
                vec![
                    "studentRegistration:7",
                    "studentRegistration:9",
                    "studentRegistration:13",
                ],
            ),
            ("flagged no_details", vec!["studentRegistration:9"]),
            (
                "flagged unregistered_before_registration",
                vec!["studentRegistration:13"],
            ),
            (
                "flagged unregistered_with_result",
                vec!["studentRegistration:6"],
            ),
            (
                "flagged unregistration_date_unusable",
                vec!["studentRegistration:10"],
            ),
            (
                "flagged visit_after_unregistration",
                vec!["lesson_progress_all:10"],
            ),
            (
                "flagged visit_before_registration",
                vec!["lesson_progress_all:7", "lesson_progress_all:8"],
            ),
            (
                "flagged withdrawn_without_date",
                vec!["studentRegistration:7"],
            ),
            (
                "repaired completed_before_registration",
                vec!["studentRegistration:4"],
            ),
            ("repaired last_day_unusable", vec!["lesson_progress_all:3"]),
            (
                "repaired registration_date_unusable",
                vec!["studentRegistration:5", "studentRegistration:9"],
            ),
            ("repaired repeated_visit", vec!["lesson_progress_all:4"]),
            ("repaired week_left_out", vec!["vle:5"]),
            ("skipped absurd_day", vec!["lesson_progress_all:14"]),
            ("skipped absurd_length", vec!["courses:7"]),
            (
                "skipped duplicate",
                vec![
                    "courses:5",
                    "assessments:4",
                    "vle:6",
                    "studentRegistration:8",
                    "studentAssessment:10",
                ],
            ),
            ("skipped malformed_code", vec!["courses:6", "assessments:5"]),
            ("skipped missing_value", vec!["studentRegistration:12"]),
            ("skipped no_registration", vec!["studentInfo:9"]),
            ("skipped not_a_number", vec!["vle:8", "assessments:6"]),
            ("skipped not_registered", vec!["lesson_progress_all:13"]),
            (
                "skipped site_of_another_course",
                vec!["lesson_progress_all:11"],
            ),
            (
                "skipped unknown_course",
                vec!["vle:7", "studentRegistration:11", "assessments:8"],
            ),
            ("skipped unknown_site", vec!["lesson_progress_all:12"]),
            ("skipped wrong_number_of_columns", vec!["vle:9"]),
        ]
        .map(|(reason, places)| {
            (
                reason.to_owned(),
                places.into_iter().map(str::to_owned).collect::<Vec<_>>(),
            )
        }),
    );
    assert_eq!(reasons, expected);

    let rows = database
        .query(
            "select concat_ws(' ', c.slug, replace(split_part(p.email, '@', 1), 'student-', ''), e.status,
               e.progress_percentage, e.enrolled_at::date, coalesce(e.completed_at, e.dropped_at)::date, 'grade ' || e.final_grade)
             from lms.enrollments e
             join lms.courses c on c.id = e.course_id
             join public.profile_private p on p.profile_id = e.user_id
             order by 1",
            &[],
        )
        .await?;
    let found: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        found,
        [
            "aaa-2013b 10 completed 100.00 2013-01-27 2013-02-04 grade 50.00",
            "aaa-2013b 11 completed 100.00 2013-01-27 2013-02-04 grade 32.00",
            "aaa-2013b 12 completed 100.00 2013-02-02 2013-02-03 grade 15.99",
            "aaa-2013b 13 dropped 50.00 2013-01-25 2013-03-03 grade 0.00",
            "aaa-2013b 14 dropped 50.00 2013-02-01 2013-02-11",
            "aaa-2013b 15 enrolled 0.00 2013-02-01 grade 0.00",
            "aaa-2013b 16 dropped 0.00 2013-02-06 2013-02-03",
            "aaa-2013j 10 enrolled 0.00 2013-10-01",
            "bbb-2014j 10 completed 100.00 2014-09-28 2014-10-03",
        ]
    );
    assert_eq!(
        count(
            &database,
            "select count(*) from lms.memberships m join auth.users u on u.id = m.user_id where u.email = 'student-10@oulad.example'"
        )
        .await?,
        2
    );

    let before = checksums(&database).await?;
    let summary = succeeded(import_command(&sandbox, &folder.0).output()?);
    assert!(summary.contains("nothing changed"), "{summary}");
    assert_eq!(checksums(&database).await?, before);

    // Somebody whom staff enrolled meanwhile keeps that enrolment.
    database
        .batch_execute(
            "insert into lms.enrollments (course_id, user_id)
             select c.id, u.id from lms.courses c, auth.users u
             where c.slug = 'aaa-2013j' and u.email = 'student-15@oulad.example'",
        )
        .await?;
    let before = checksums(&database).await?;
    folder.write(
        "studentRegistration",
        &format!("{registrations}AAA,2013J,15,0,\n"),
    )?;
    let summary = succeeded(import_command(&sandbox, &folder.0).output()?);
    assert!(
        listed(&summary)?
            .iter()
            .any(|line| line["reason"] == "enrolled_otherwise" && line["line"] == 14),
        "{summary}"
    );
    assert_eq!(checksums(&database).await?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_input_is_refused_before_anything_is_written() -> Result<()> {
    let sandbox = Sandbox::start(PLAIN)?;
    let database = admin(&sandbox).await?;
    let before = checksums(&database).await?;

    refused(
        &import_command(&sandbox, Path::new("/nowhere")).output()?,
        "/nowhere is no folder",
    );

    let folder = Folder::new()?;
    write_odd_files(&folder)?;
    std::fs::remove_file(folder.file("vle"))?;
    refused(
        &import_command(&sandbox, &folder.0).output()?,
        "lacks vle.csv.gz",
    );

    folder.write("vle", "id,code\n1,2\n")?;
    refused(
        &import_command(&sandbox, &folder.0).output()?,
        "vle.csv.gz begins with the columns «id,code»",
    );

    std::fs::write(
        folder.file("vle"),
        "id_site,code_module,code_presentation,activity_type,week_from,week_to\n",
    )?;
    refused(
        &import_command(&sandbox, &folder.0).output()?,
        "vle.csv.gz is damaged or cut short",
    );

    let folder = Folder::new()?;
    write_odd_files(&folder)?;
    let bytes = std::fs::read(folder.file("lesson_progress_all"))?;
    std::fs::write(
        folder.file("lesson_progress_all"),
        bytes.get(..bytes.len() - 6).context("a longer file")?,
    )?;
    refused(
        &import_command(&sandbox, &folder.0).output()?,
        "lesson_progress_all.csv.gz is damaged or cut short",
    );

    write_odd_files(&folder)?;
    folder.write(
        "courses",
        "code_module,code_presentation,module_presentation_length\n",
    )?;
    refused(
        &import_command(&sandbox, &folder.0).output()?,
        "courses.csv.gz holds no usable course",
    );

    // Everything in order but the key.
    write_odd_files(&folder)?;
    let mut command = import_command(&sandbox, &folder.0);
    command.env("SERVICE_ROLE_KEY", sandbox.address("ANON_KEY"));
    refused(&command.output()?, "refuses the service role key");

    assert_eq!(checksums(&database).await?, before);

    // One import at a time.
    database
        .batch_execute("select pg_advisory_lock(hashtext('lyceum import'))")
        .await?;
    refused(
        &import_command(&sandbox, &folder.0).output()?,
        "another import is under way",
    );
    Ok(())
}

/// Files with one of each oddity that an import knows; returns the registrations.
fn write_odd_files(folder: &Folder) -> Result<&'static str> {
    folder.write(
        "courses",
        "code_module,code_presentation,module_presentation_length\n\
         AAA,2013B,100\n\
         AAA,2013J,100\n\
         BBB,2014J,100\n\
         AAA,2013J,100\n\
         CCC,13J,100\n\
         DDD,2013J,-5\n",
    )?;
    folder.write(
        "vle",
        "id_site,code_module,code_presentation,activity_type,week_from,week_to\n\
         1,AAA,2013B,resource,,\n\
         2,AAA,2013B,quiz,1,2\n\
         3,AAA,2013J,resource,,\n\
         4,BBB,2014J,\"odd \"\"type\"\", \\here\",x,\n\
         1,AAA,2013B,resource,,\n\
         5,ZZZ,2013J,resource,,\n\
         x,AAA,2013B,resource,,\n\
         6,AAA,2013B\n",
    )?;
    let people = [
        ("AAA,2013B,10", "Pass"),
        ("AAA,2013B,11", "Withdrawn"),
        ("AAA,2013B,12", "Pass"),
        ("AAA,2013B,13", "Withdrawn"),
        ("AAA,2013B,14", "Fail"),
        ("AAA,2013B,15", "Withdrawn"),
        ("AAA,2013B,16", "Withdrawn"),
        ("AAA,2013B,77", "Pass"),
        ("BBB,2014J,10", "Pass"),
    ];
    let people: String = people
        .iter()
        .map(|(key, result)| format!("{key},F,Scotland,HE Qualification,,0-35,0,60,N,{result}\n"))
        .collect();
    folder.write(
        "studentInfo",
        &format!(
            "code_module,code_presentation,id_student,gender,region,highest_education,imd_band,age_band,\
             num_of_prev_attempts,studied_credits,disability,final_result\n{people}"
        ),
    )?;
    let registrations = "code_module,code_presentation,id_student,date_registration,date_unregistration\n\
         AAA,2013B,10,-5,\n\
         AAA,2013B,11,-5,20\n\
         AAA,2013B,12,50,\n\
         AAA,2013B,13,,30\n\
         AAA,2013B,14,0,10\n\
         AAA,2013B,15,0,\n\
         AAA,2013B,10,-1,\n\
         AAA,2013J,10,soon,\n\
         BBB,2014J,10,-3,99999\n\
         ZZZ,2013J,10,0,\n\
         AAA,2013B,,0,\n\
         AAA,2013B,16,5,2\n";
    folder.write("studentRegistration", registrations)?;
    folder.write(
        "lesson_progress_all",
        "code_module,code_presentation,id_student,id_site,first_day,last_day,active_days,clicks\n\
         AAA,2013B,10,1,1,5,1,1\n\
         AAA,2013B,10,2,3,2,1,1\n\
         AAA,2013B,10,1,0,9,1,1\n\
         AAA,2013B,11,1,1,1,1,1\n\
         AAA,2013B,11,2,3,3,1,1\n\
         AAA,2013B,12,1,1,1,1,1\n\
         AAA,2013B,12,2,2,2,1,1\n\
         AAA,2013B,13,1,-7,1,1,1\n\
         AAA,2013B,14,1,20,20,1,1\n\
         AAA,2013B,10,3,1,1,1,1\n\
         AAA,2013B,10,99,1,1,1,1\n\
         AAA,2013B,88,1,1,1,1,1\n\
         AAA,2013B,10,1,99999,1,1,1\n\
         BBB,2014J,10,4,2,2,1,1\n",
    )?;
    folder.write(
        "assessments",
        "code_module,code_presentation,id_assessment,assessment_type,date,weight\n\
         AAA,2013B,100,TMA,20,40\n\
         AAA,2013B,101,Exam,,60.0\n\
         AAA,2013B,100,CMA,20,10\n\
         AAA,2013B,102,Riddle,20,10\n\
         AAA,2013B,103,CMA,20,-1\n\
         AAA,2013B,104,CMA,20,1000.5\n\
         ZZZ,2013B,105,CMA,20,10\n\
         BBB,2014J,106,CMA,20,0\n",
    )?;
    folder.write(
        "studentAssessment",
        "id_assessment,id_student,date_submitted,is_banked,score\n\
         100,10,20,0,75.5\n\
         101,10,-1,1,33\n\
         100,11,21,0,80\n\
         100,12,,0,39.99\n\
         100,13,25,0,\n\
         100,14,5,0,101\n\
         100,88,5,0,50\n\
         105,10,5,0,50\n\
         100,10,5,0,50\n\
         106,10,2,0,0\n\
         101,15,99999,0,?\n",
    )?;
    Ok(registrations)
}

/// A folder of its own, removed with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("lyceum-oulad-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.csv.gz"))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let mut encoder = GzEncoder::new(
            std::fs::File::create(self.file(name))?,
            Compression::default(),
        );
        encoder.write_all(text.as_bytes())?;
        encoder.finish()?;
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn data() -> Option<PathBuf> {
    let data = std::env::var_os("LYCEUM_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    Some(data.join("oulad")).filter(|dir| dir.is_dir())
}

fn import_command(sandbox: &Sandbox, dir: &Path) -> Command {
    let mut command = Command::new(program());
    command
        .args([
            "import",
            "oulad",
            "--quiet",
            "--db-url",
            sandbox.address("DB_URL"),
            "--api-url",
            sandbox.address("API_URL"),
        ])
        .arg(dir)
        .env("SERVICE_ROLE_KEY", sandbox.address("SERVICE_ROLE_KEY"))
        .current_dir(root());
    command
}

fn succeeded(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &Output, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains(why),
        "«{why}» expected, but: {said}"
    );
}

/// The lines of the report file that the summary names.
fn listed(summary: &str) -> Result<Vec<Value>> {
    let path = summary
        .lines()
        .find_map(|line| line.strip_prefix("each of these rows: "))
        .context("a report file")?;
    std::fs::read_to_string(path)?
        .lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

async fn admin(sandbox: &Sandbox) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(sandbox.address("ADMIN_DB_URL"), tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute("set timezone = 'UTC'").await?;
    Ok(client)
}

async fn count(database: &Client, sql: &str) -> Result<i64> {
    Ok(database.query_one(sql, &[]).await?.get(0))
}

/// A checksum of every table that an import could touch: content, row versions (xmin) and places (ctid).
async fn checksums(database: &Client) -> Result<BTreeMap<String, String>> {
    let tables = database
        .query(
            "select format('%I.%I', schemaname, tablename) from pg_tables
             where schemaname in ('lms', 'public', 'private') or (schemaname, tablename) in (('auth', 'users'), ('auth', 'identities'))",
            &[],
        )
        .await?;
    let mut checksums = BTreeMap::new();
    for row in tables {
        let table: String = row.get(0);
        let checksum = database
            .query_one(
                &format!("select coalesce(md5(string_agg(concat_ws('|', t.ctid, t.xmin, t.xmax, t::text), ',' order by t.ctid)), '') from {table} t"),
                &[],
            )
            .await?
            .get(0);
        checksums.insert(table, checksum);
    }
    Ok(checksums)
}

/// The rows of a file without its header: plain commas, no quotes in the files that matter here.
fn rows(dir: &Path, name: &str) -> Result<Vec<Vec<String>>> {
    let mut text = String::new();
    MultiGzDecoder::new(std::fs::File::open(dir.join(format!("{name}.csv.gz")))?)
        .read_to_string(&mut text)?;
    Ok(text
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect())
}

fn day_zero(presentation: &str) -> Result<NaiveDate> {
    let month = if presentation.ends_with('B') {
        "02"
    } else {
        "10"
    };
    let year = presentation.get(..4).context("a year")?;
    Ok(format!("{year}-{month}-01").parse()?)
}

fn day(presentation: &str, offset: &str) -> Result<NaiveDate> {
    let offset: i64 = offset.parse()?;
    let days = Days::new(offset.unsigned_abs());
    let start = day_zero(presentation)?;
    Ok(if offset < 0 {
        start - days
    } else {
        start + days
    })
}

fn standings_of_files(dir: &Path) -> Result<Standings> {
    let slug = |module: &str, presentation: &str| format!("{module}-{presentation}").to_lowercase();
    let mut sites: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows(dir, "vle")? {
        let [site, module, presentation, ..] = row.as_slice() else {
            anyhow::bail!("a short row: {row:?}")
        };
        sites
            .entry(slug(module, presentation))
            .or_default()
            .insert(site.clone());
    }
    let mut visited: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for row in rows(dir, "lesson_progress_all")? {
        let [module, presentation, student, site, ..] = row.as_slice() else {
            anyhow::bail!("a short row: {row:?}")
        };
        visited
            .entry((slug(module, presentation), student.clone()))
            .or_default()
            .insert(site.clone());
    }
    let mut standings = Standings::new();
    for row in rows(dir, "studentRegistration")? {
        let [module, presentation, student, registered, unregistered] = row.as_slice() else {
            anyhow::bail!("a short row: {row:?}")
        };
        let key = (slug(module, presentation), student.clone());
        let all = sites.get(&key.0).context("a course without sites")?;
        let done = visited
            .get(&key)
            .map_or(0, |seen| seen.intersection(all).count());
        let hundredths = done * 10_000 / all.len();
        let standing = Standing {
            items_done: i32::try_from(done)?,
            items_total: i32::try_from(all.len())?,
            percentage: format!("{}.{:02}", hundredths / 100, hundredths % 100),
            dropped_on: if unregistered.is_empty() {
                None
            } else {
                Some(day(presentation, unregistered)?)
            },
            enrolled_on: day(presentation, registered)?,
        };
        standings.insert(key, standing);
    }
    Ok(standings)
}

/// By course, student and assessment: the score as written, the day, and whether it was carried over.
type Marks = BTreeMap<(String, String, String), (Option<String>, NaiveDate, bool)>;
/// By course and student.
type Grades = BTreeMap<(String, String), String>;

/// All marks, and of each registration what its learner got, weighted: what was not handed in, or has no score, is 0.
fn marks_of_files(dir: &Path) -> Result<(Marks, Grades)> {
    let mut courses = BTreeMap::new();
    // In hundredths, so that nothing is rounded on the way.
    let mut weights: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for row in rows(dir, "assessments")? {
        let [module, presentation, number, _, _, weight] = row.as_slice() else {
            anyhow::bail!("a short row: {row:?}")
        };
        let slug = format!("{module}-{presentation}").to_lowercase();
        let weight = weight.strip_suffix(".0").unwrap_or(weight).parse()?;
        weights
            .entry(slug.clone())
            .or_default()
            .insert(number.clone(), weight);
        courses.insert(number.clone(), (slug, presentation.clone()));
    }
    let mut marks = Marks::new();
    for row in rows(dir, "studentAssessment")? {
        let [number, student, submitted, banked, score] = row.as_slice() else {
            anyhow::bail!("a short row: {row:?}")
        };
        let (slug, presentation) = courses.get(number).context("an unknown assessment")?;
        let score = Some(score.clone()).filter(|score| !score.is_empty());
        marks.insert(
            (slug.clone(), student.clone(), number.clone()),
            (score, day(presentation, submitted)?, banked == "1"),
        );
    }
    let mut grades = Grades::new();
    for row in rows(dir, "studentRegistration")? {
        let [module, presentation, student, ..] = row.as_slice() else {
            anyhow::bail!("a short row: {row:?}")
        };
        let slug = format!("{module}-{presentation}").to_lowercase();
        let (mut earned, mut possible) = (0, 0);
        let mut counts = false;
        for (number, weight) in &weights[&slug] {
            possible += weight;
            let key = (slug.clone(), student.clone(), number.clone());
            if let Some((score, ..)) = marks.get(&key) {
                counts |= *weight > 0;
                earned += weight * score.as_deref().unwrap_or("0").parse::<u64>()?;
            }
        }
        // Until something that counts is handed in there is no grade.
        if counts {
            let hundredths = earned * 100 / possible;
            let grade = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            grades.insert((slug, student.clone()), grade);
        }
    }
    Ok((marks, grades))
}

async fn marks_of_database(database: &Client) -> Result<Marks> {
    let rows = database
        .query(
            "select c.slug::text, substring(u.email from 'student-([0-9]+)@'), split_part(a.key, '-', 2),
               s.percentage::text, t.submitted_at::date, coalesce((n.explanation ->> 'is_banked')::boolean, false),
               (t.status = 'graded') = (s.attempt_id is not null) and n.points is not distinct from s.points
             from lms.assessment_attempts t
             join lms.courses c on c.id = t.course_id
             join auth.users u on u.id = t.user_id
             join lms.assessments a on a.id = t.assessment_id
             join lms.answer_scores n on n.attempt_id = t.id
             left join lms.attempt_scores s on s.attempt_id = t.id",
            &[],
        )
        .await?;
    let mut marks = Marks::new();
    for row in rows {
        assert!(row.get::<_, bool>(6), "graded exactly when it has a score");
        marks.insert(
            (row.get(0), row.get(1), row.get(2)),
            (row.get(3), row.get(4), row.get(5)),
        );
    }
    Ok(marks)
}

async fn grades_of_database(database: &Client) -> Result<Grades> {
    let rows = database
        .query(
            "select c.slug::text, substring(u.email from 'student-([0-9]+)@'), e.final_grade::text
             from lms.enrollments e
             join lms.courses c on c.id = e.course_id
             join auth.users u on u.id = e.user_id
             where e.final_grade is not null",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| ((row.get(0), row.get(1)), row.get(2)))
        .collect())
}

async fn standings_of_database(database: &Client) -> Result<Standings> {
    let rows = database
        .query(
            "select c.slug::text, u.email::text, e.items_done, e.items_total, e.progress_percentage::text,
               e.dropped_at::date, e.enrolled_at::date
             from lms.enrollments e
             join lms.courses c on c.id = e.course_id
             join lms.tenants t on t.id = e.tenant_id and t.slug = 'oulad-' || split_part(c.slug, '-', 1)
             join auth.users u on u.id = e.user_id
             where e.source = 'import' and (e.status = 'dropped') = (e.dropped_at is not null)",
            &[],
        )
        .await?;
    let mut standings = Standings::new();
    for row in rows {
        let email: String = row.get(1);
        let student = email
            .strip_prefix("student-")
            .and_then(|rest| rest.strip_suffix("@oulad.example"))
            .with_context(|| format!("{email} is no student"))?;
        let standing = Standing {
            items_done: row.get(2),
            items_total: row.get(3),
            percentage: row.get(4),
            dropped_on: row.get(5),
            enrolled_on: row.get(6),
        };
        standings.insert((row.get(0), student.to_owned()), standing);
    }
    Ok(standings)
}
