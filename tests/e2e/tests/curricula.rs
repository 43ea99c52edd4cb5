//! `lyceum import exercism`, `oatutor` and `course`: real curricula come in with exactly their known faults, importing again
//! writes nothing, and what goes out comes in elsewhere as the same course.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use lyceum_e2e::{Options, Person, Sandbox, program, root, shared};
use serde_json::{Value, json};
use tokio_postgres::Client;

const PLAIN: Options = Options {
    functions: false,
    seed: false,
};

fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    shared(&SANDBOX, PLAIN)
}

/// A tenant and somebody who holds a role in it.
struct School {
    slug: String,
    person: Person,
}

impl School {
    async fn found(database: &Client, slug: &str, role: &str) -> Result<Self> {
        let person = sandbox().new_person(&format!("{slug}@example.com")).await?;
        database
            .execute(
                "with t as (insert into lms.tenants (slug, name) values ($1::text, $1::text) returning id)
                 insert into lms.memberships (tenant_id, user_id) select t.id, $2 from t",
                &[&slug, &person.id],
            )
            .await?;
        database
            .execute(
                "insert into lms.role_grants (tenant_id, membership_id, role_id)
                 select m.tenant_id, m.id, r.id
                 from lms.tenants t
                 join lms.memberships m on m.tenant_id = t.id and m.user_id = $2
                 join lms.roles r on r.tenant_id = t.id and r.key::text = $3
                 where t.slug::text = $1
                 on conflict do nothing",
                &[&slug, &person.id, &role],
            )
            .await?;
        Ok(Self {
            slug: slug.to_owned(),
            person,
        })
    }

    fn lyceum(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .args(["--tenant", &self.slug])
            .args(["--api-url", sandbox().address("API_URL")])
            .env("ANON_KEY", sandbox().address("ANON_KEY"))
            .env("ACCESS_TOKEN", &self.person.token)
            .current_dir(root());
        command
    }

    fn import(&self, source: &str, path: &Path) -> Result<String> {
        succeeded(self.lyceum(&["import", source]).arg(path).output()?)
    }

    fn export(&self, slug: &str, out: &Path) -> Result<()> {
        succeeded(self.lyceum(&["export", "course", slug]).arg(out).output()?).map(drop)
    }
}

fn succeeded(output: Output) -> Result<String> {
    anyhow::ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn data(name: &str) -> Option<PathBuf> {
    let data = std::env::var_os("LYCEUM_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let path = Some(data.join(name)).filter(|path| path.exists());
    if path.is_none() {
        println!(
            "skipped: there is no ../shared/data/{name} beside the checkout, nor in $LYCEUM_DATA"
        );
    }
    path
}

/// The summary's counts by reason.
fn findings(summary: &str) -> BTreeMap<String, u64> {
    summary
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let action = words.next()?;
            let count = words.next()?.parse().ok()?;
            let code = words.next()?.strip_suffix(':')?;
            ["skipped", "repaired", "flagged"]
                .contains(&action)
                .then(|| (code.to_owned(), count))
        })
        .collect()
}

fn counts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected
        .iter()
        .map(|(code, count)| ((*code).to_owned(), *count))
        .collect()
}

/// Which transaction wrote each row of a tenant's catalogue.
async fn rows(database: &Client, tenant: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for table in [
        "courses",
        "modules",
        "lessons",
        "lesson_blocks",
        "lesson_prerequisites",
        "skills",
        "lesson_skills",
        "tags",
        "course_tags",
        "assessments",
        "assessment_sections",
        "questions",
        "question_skills",
    ] {
        let found = database
            .query(
                &format!(
                    "select '{table} ' || r.ctid || ' ' || r.xmin from lms.{table} r
                     join lms.tenants t on t.id = r.tenant_id where t.slug::text = $1 order by 1"
                ),
                &[&tenant],
            )
            .await?;
        all.extend(found.iter().map(|row| row.get::<_, String>(0)));
    }
    Ok(all)
}

/// A new folder of its own, removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("lyceum-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// All files below a folder, by name.
fn files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder)?.display().to_string();
                all.insert(name, std::fs::read_to_string(&path)?);
            }
        }
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exercism_track_comes_in_with_its_known_faults_and_goes_elsewhere() -> Result<()> {
    let Some(path) = data("exercism/config.json") else {
        return Ok(());
    };
    let database = sandbox().database().await?;
    let here = School::found(&database, "snakes", "tenant_admin").await?;
    let summary = here.import("exercism", &path)?;
    println!("{summary}");
    assert_eq!(
        findings(&summary),
        counts(&[
            ("deprecated", 12),
            ("foregone", 3),
            ("nothing_teaches", 3),
            ("work_in_progress", 3)
        ])
    );
    let report = summary
        .lines()
        .last()
        .and_then(|line| line.strip_prefix("each of them: "))
        .context("the summary names the report")?;
    let report = std::fs::read_to_string(report)?;
    for (exercise, concept) in [
        ("log-levels", "comprehensions"),
        ("log-levels", "sequences"),
        ("restaurant-rozalynn", "functions"),
    ] {
        assert!(report.contains(&format!("{exercise} needs {concept}")));
    }

    // Counted from the file, by other means than the import's.
    let track: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    let exercises = |kind: &str| {
        track["exercises"][kind]
            .as_array()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .filter(|exercise| exercise["status"] != "deprecated")
            .collect::<Vec<_>>()
    };
    let all: Vec<Value> = [exercises("concept"), exercises("practice")].concat();
    let edges: usize = all
        .iter()
        .map(|exercise| exercise["prerequisites"].as_array().map_or(0, Vec::len))
        .sum();
    let found = database
        .query_one(
            "select count(distinct l.id), count(*) filter (where not l.is_published),
               (select count(*) from lms.lesson_prerequisites p where p.course_id = c.id),
               (select count(*) from lms.lesson_skills k where k.course_id = c.id and k.part = 'teaches')
             from lms.courses c join lms.lessons l on l.course_id = c.id
             where c.slug = 'python' group by c.id",
            &[],
        )
        .await?;
    let taught: usize = exercises("concept")
        .iter()
        .map(|exercise| exercise["concepts"].as_array().map_or(0, Vec::len))
        .sum();
    let found: [i64; 4] = [found.get(0), found.get(1), found.get(2), found.get(3)];
    let expected =
        [all.len(), 3, edges - 3, taught].map(|count| i64::try_from(count).unwrap_or(-1));
    assert_eq!(found, expected);

    let before = rows(&database, "snakes").await?;
    let again = here.import("exercism", &path)?;
    assert!(again.starts_with("unchanged  python\n"), "{again}");
    assert_eq!(rows(&database, "snakes").await?, before);

    let scratch = Scratch::new("exercism")?;
    let there = School::found(&database, "serpents", "tenant_admin").await?;
    let (folder, copy) = (scratch.0.join("a"), scratch.0.join("b"));
    here.export("python", &folder)?;
    there.import("course", &folder)?;
    there.export("python", &copy)?;
    assert_eq!(files(&folder)?.len(), 1 + 4 + all.len());
    assert_eq!(files(&folder)?, files(&copy)?);
    let (document, copy) = (scratch.0.join("a.json"), scratch.0.join("b.json"));
    here.export("python", &document)?;
    let again = there.import("course", &document)?;
    assert!(again.starts_with("unchanged  python\n"), "{again}");
    there.export("python", &copy)?;
    assert_eq!(std::fs::read(&document)?, std::fs::read(&copy)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_courses_of_oatutor_come_in_with_their_known_faults() -> Result<()> {
    let Some(dir) = data("oatutor") else {
        return Ok(());
    };
    let database = sandbox().database().await?;
    let here = School::found(&database, "algebra", "instructor").await?;
    let summary = here.import("oatutor", &dir)?;
    println!("{summary}");
    assert_eq!(
        findings(&summary),
        counts(&[
            ("answer_by_spelling", 70),
            ("answer_is_a_product", 70),
            ("answer_is_a_quotient", 28),
            ("answer_is_a_sum", 42),
            ("answer_malformed", 1),
            ("answer_with_root", 13),
            ("form_not_checked", 20),
            ("list_by_spelling", 14),
            ("nameless_skill", 2),
            ("no_licence", 1),
            ("no_source", 3),
            ("picture_missing", 23),
            ("repeated_choice", 4),
            ("repeated_lesson_id", 57),
            ("skill_spelt_twice", spelt_twice(&dir)?),
            ("skills_of_two_lessons", 13),
            ("steps_asked_alone", 111),
            ("wrong_language", 1),
        ])
    );
    let left_out: u64 = findings(&summary)
        .iter()
        .filter(|(code, _)| {
            [
                "answer_is_",
                "answer_malformed",
                "answer_with_root",
                "picture_missing",
            ]
            .iter()
            .any(|begin| code.starts_with(begin))
        })
        .map(|(_, count)| count)
        .sum();
    let (types, skilled, values) = bank(&database).await?;
    let expected = bank_of_file(&dir, left_out)?;
    assert_eq!((types, skilled), (expected.0, expected.1));
    assert_eq!(values, expected.2);
    let found = database
        .query_one(
            "select count(distinct c.id), count(*), count(*) filter (where c.language = 'sv'),
               (select count(*) from lms.skills s where s.tenant_id = t.id)
             from lms.tenants t join lms.courses c on c.tenant_id = t.id join lms.lessons l on l.course_id = c.id
             where t.slug = 'algebra' group by t.id",
            &[],
        )
        .await?;
    let found: [i64; 4] = [found.get(0), found.get(1), found.get(2), found.get(3)];
    // 1,233 names, one of them empty and six of them another one's with other signs.
    assert_eq!(found, [18, 626, 6, 1233 - 1 - 6]);

    let before = rows(&database, "algebra").await?;
    let again = here.import("oatutor", &dir)?;
    assert_eq!(again.matches("unchanged  ").count(), 18, "{again}");
    assert!(
        again.contains("assessed   openstax-elementary-algebra; unchanged\n"),
        "{again}"
    );
    assert_eq!(rows(&database, "algebra").await?, before);

    let scratch = Scratch::new("oatutor")?;
    let there = School::found(&database, "geometry", "instructor").await?;
    for slug in ["openstax-elementary-algebra", "matematik-4"] {
        let (folder, copy) = (scratch.0.join(slug), scratch.0.join(format!("{slug}-copy")));
        here.export(slug, &folder)?;
        there.import("course", &folder)?;
        there.export(slug, &copy)?;
        assert_eq!(files(&folder)?, files(&copy)?);
    }
    Ok(())
}

/// How many questions there are by type, those with a skill, and the keys of numbers.
type BankCounts = (BTreeMap<String, u64>, u64, BTreeMap<String, String>);

async fn bank(database: &Client) -> Result<BankCounts> {
    let rows = database
        .query(
            "select q.question_key, q.type, k.key ->> 'value',
               exists (select from lms.question_skills s where s.question_id = q.id)
             from lms.questions q
             join private.answer_keys k on k.question_id = q.id
             join lms.courses c on c.id = q.course_id and c.slug = 'openstax-elementary-algebra'
             join lms.tenants t on t.id = c.tenant_id and t.slug = 'algebra'",
            &[],
        )
        .await?;
    let (mut types, mut skilled, mut values) = (BTreeMap::new(), 0, BTreeMap::new());
    for row in &rows {
        *types.entry(row.get(1)).or_insert(0) += 1;
        skilled += u64::from(row.get::<_, bool>(3));
        if let Some(value) = row.get::<_, Option<String>>(2) {
            values.insert(row.get(0), value);
        }
    }
    Ok((types, skilled, values))
}

/// The same, counted from the file by other means than the import's: what is a number by itself is one, and all that is
/// neither imported nor a choice was reported.
fn bank_of_file(dir: &Path, left_out: u64) -> Result<BankCounts> {
    let unpacked = Command::new("gzip")
        .arg("-dc")
        .arg(dir.join("problems.json.gz"))
        .output()?;
    let file: Value = serde_json::from_slice(&unpacked.stdout)?;
    let (mut steps, mut singles, mut values) = (0, 0, BTreeMap::new());
    for problem in file["problems"].as_array().into_iter().flatten() {
        for step in problem["steps"].as_array().into_iter().flatten() {
            steps += 1;
            let shown = format!(
                "{}{}{}",
                problem["body"], step["stepTitle"], step["stepBody"]
            );
            if shown.contains("##") {
                continue;
            }
            if step["problemType"] == "MultipleChoice" {
                singles += 1;
                continue;
            }
            let answer = step["stepAnswer"][0].as_str().unwrap_or_default();
            let answer = answer.replace("$$", "");
            let value = if answer.parse::<f64>().is_ok() {
                answer
            } else {
                let plain = answer.replace("\\left(", "").replace("\\right)", "");
                let parts: Result<Vec<i64>, _> = plain
                    .trim_start_matches("\\frac{")
                    .trim_end_matches('}')
                    .split("}{")
                    .map(str::parse)
                    .collect();
                match parts.unwrap_or_default()[..] {
                    [top, bottom] if plain.starts_with("\\frac{") => {
                        format!("{}/{}", top * bottom.signum(), bottom.abs())
                    }
                    _ => continue,
                }
            };
            let id = step["id"].as_str().unwrap_or_default().to_owned();
            values.insert(id, value);
        }
    }
    let numbers = values.len() as u64;
    let types = BTreeMap::from([
        ("numeric".to_owned(), numbers),
        (
            "short_answer".to_owned(),
            steps - left_out - singles - numbers,
        ),
        ("single".to_owned(), singles),
    ]);
    Ok((types, steps - left_out, values))
}

/// How often a lesson names a skill by other signs than it was first named by.
fn spelt_twice(dir: &Path) -> Result<u64> {
    let plans: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.join("coursePlans.json"))?)?;
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    for lesson in plans
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|plan| plan["lessons"].as_array())
        .flatten()
    {
        for name in lesson["learningObjectives"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
        {
            let letters: Vec<_> = name
                .split(|c: char| !c.is_ascii_alphanumeric())
                .filter(|word| !word.is_empty())
                .collect();
            let one = first
                .entry(letters.join("-"))
                .or_insert_with(|| name.clone());
            count += u64::from(one != name);
        }
    }
    Ok(count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_imported_whole_or_not_at_all() -> Result<()> {
    let database = sandbox().database().await?;
    let here = School::found(&database, "welders", "instructor").await?;
    let stranger = School::found(&database, "bakers", "learner").await?;
    let scratch = Scratch::new("folder")?;
    let folder = scratch.0.join("welding");
    std::fs::create_dir_all(folder.join("01-gas"))?;
    std::fs::write(
        folder.join("course.md"),
        "---\nslug: welding\ntitle: Welding\nskills:\n  - key: arc\n    name: Arc\ntags: [metal]\n---\n",
    )?;
    let lesson = folder.join("01-gas/01-bottles.md");
    std::fs::write(
        &lesson,
        "---\ntitle: Bottles\nskills: [arc]\n---\n\nBlue is oxygen.\n\n<!-- lyceum-block -->\n\nRed is not.\n",
    )?;
    std::fs::write(folder.join("01-gas/picture.png"), "x")?;

    let dry = succeeded(
        here.lyceum(&["import", "course", "--dry-run"])
            .arg(&folder)
            .output()?,
    )?;
    assert!(
        dry.contains(
            "created    welding; modules: 1 created; lessons: 1 created; blocks: 2 created"
        ),
        "{dry}"
    );
    assert_eq!(rows(&database, "welders").await?, Vec::<String>::new());
    let first = here.import("course", &folder)?;
    assert_eq!(
        findings(&first),
        counts(&[("not_markdown", 1), ("tag_left_out", 1)])
    );
    let refused = stranger
        .lyceum(&["import", "course"])
        .arg(&folder)
        .output()?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stdout).contains("takes catalog.author"));

    // What the files say wrong is told by file and line, what only the database knows by file.
    let before = rows(&database, "welders").await?;
    std::fs::write(&lesson, "---\ntitle: Bottles\nid: 5\n---\n")?;
    let refused = here.lyceum(&["import", "course"]).arg(&folder).output()?;
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&refused.stderr)
            .contains("01-gas/01-bottles.md:3: there is no field \"id\" here (unknown_field)")
    );
    std::fs::write(
        &lesson,
        "---\ntitle: Bottles\n---\n```lyceum-block json\n{\"type\": \"rich_text\", \"content\": {\"html\": \"<script>\"}}\n```\n",
    )?;
    let refused = here.lyceum(&["import", "course"]).arg(&folder).output()?;
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(said.contains("01-gas/01-bottles.md: blocks[0].content: This is no content of a block of type rich_text."), "{said}");
    assert_eq!(rows(&database, "welders").await?, before);

    // One of the two blocks is changed; the lesson and the other block stay what they were.
    let ids = |text: &'static str| {
        let database = &database;
        async move {
            let row = database
                .query_one(
                    "select b.id::text || b.lesson_id from lms.lesson_blocks b join lms.tenants t on t.id = b.tenant_id
                     where t.slug = 'welders' and b.deleted_at is null and b.content ->> 'markdown' = $1",
                    &[&text],
                )
                .await?;
            anyhow::Ok(row.get::<_, String>(0))
        }
    };
    let (changed, kept) = (ids("Blue is oxygen.").await?, ids("Red is not.").await?);
    std::fs::write(
        &lesson,
        "---\ntitle: Bottles\nskills: [arc]\n---\n\nBlue was oxygen.\n\n<!-- lyceum-block -->\n\nRed is not.\n",
    )?;
    let summary = here.import("course", &folder)?;
    assert!(
        summary.starts_with("unchanged  welding; blocks: 1 updated\n"),
        "{summary}"
    );
    assert_eq!(
        (ids("Blue was oxygen.").await?, ids("Red is not.").await?),
        (changed, kept)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_of_one_course_at_once_are_one_after_another() -> Result<()> {
    let database = sandbox().database().await?;
    let here = School::found(&database, "rivals", "tenant_admin").await?;
    let tenant: uuid::Uuid = database
        .query_one("select id from lms.tenants where slug = 'rivals'", &[])
        .await?
        .get(0);
    let document = |title: &str| {
        let lessons: Vec<_> = (0..30)
            .map(|n| {
                json!({ "key": format!("l{n}"), "title": format!("{title} {n}"), "blocks": [
                    { "type": "markdown", "content": { "markdown": title } }
                ]})
            })
            .collect();
        json!({ "p_tenant_id": tenant, "p_course": {
            "format": "lyceum-course-1", "slug": "race", "title": title, "modules": [{ "key": "m", "title": "M", "lessons": lessons }]
        }})
    };
    let documents: Vec<_> = (0..8).map(|n| document(&format!("Version {n}"))).collect();
    let calls = documents
        .iter()
        .map(|document| here.person.post("/rest/v1/rpc/import_course", document));
    for answer in futures_util::future::try_join_all(calls).await? {
        // Of those that met an empty place, one made the course; the others are told that it is there.
        assert!(
            answer.status.is_success() || answer.code() == "course_slug_is_taken",
            "{answer:?}"
        );
    }
    let found = database
        .query_one(
            "select count(distinct c.title), count(distinct split_part(l.title, ' ', 2)), count(*),
               bool_and(b.content ->> 'markdown' = c.title)
             from lms.courses c join lms.lessons l on l.course_id = c.id join lms.lesson_blocks b on b.lesson_id = l.id
             where c.slug = 'race' and l.deleted_at is null and b.deleted_at is null",
            &[],
        )
        .await?;
    let found: (i64, i64, i64, bool) = (found.get(0), found.get(1), found.get(2), found.get(3));
    assert_eq!(
        found,
        (1, 1, 30, true),
        "all of one version, nothing of another"
    );
    Ok(())
}

/// An item of QTI 3 with one interaction.
fn qti_item(identifier: &str, declaration: &str, body: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<qti-assessment-item xmlns="http://www.imsglobal.org/xsd/imsqtiasi_v3p0" identifier="{identifier}" title="T" time-dependent="false">
<qti-response-declaration identifier="RESPONSE" {declaration}</qti-response-declaration>
<qti-item-body>{body}</qti-item-body>
<qti-response-processing template="https://purl.imsglobal.org/spec/qti/v3p0/rptemplates/match_correct"/>
</qti-assessment-item>"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn qti_content_becomes_assessments_of_a_course() -> Result<()> {
    let database = sandbox().database().await?;
    let here = School::found(&database, "chemists", "instructor").await?;
    let stranger = School::found(&database, "alchemists", "instructor").await?;
    let scratch = Scratch::new("qti")?;
    let course = scratch.0.join("gases.json");
    std::fs::write(
        &course,
        r#"{"format": "lyceum-course-1", "slug": "gases", "title": "Gases", "modules": [
            {"key": "m", "title": "M", "lessons": [{"key": "bottles", "title": "Bottles"}]}]}"#,
    )?;
    here.import("course", &course)?;

    let package = scratch.0.join("package");
    std::fs::create_dir_all(package.join("items"))?;
    let choices = r#"<p>Blue bottles hold:</p><qti-choice-interaction response-identifier="RESPONSE" shuffle="true" max-choices="1">
        <qti-simple-choice identifier="O2">Oxygen</qti-simple-choice><qti-simple-choice identifier="AR">Argon</qti-simple-choice></qti-choice-interaction>"#;
    let oxygen = r#"cardinality="single" base-type="identifier"><qti-correct-response><qti-value>O2</qti-value></qti-correct-response>"#;
    std::fs::write(
        package.join("items/blue.xml"),
        qti_item("blue", oxygen, choices),
    )?;
    std::fs::write(
        package.join("items/share.xml"),
        qti_item(
            "share",
            r#"cardinality="single" base-type="float"><qti-correct-response><qti-value>20.9</qti-value></qti-correct-response>"#,
            r#"<p>Air holds <qti-text-entry-interaction response-identifier="RESPONSE"/> % of it.</p>"#,
        ),
    )?;
    std::fs::write(
        package.join("items/where.xml"),
        qti_item(
            "where",
            oxygen,
            r#"<p>Where?</p><qti-hotspot-interaction response-identifier="RESPONSE"/>"#,
        ),
    )?;
    std::fs::write(
        package.join("items/evil.xml"),
        r#"<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>"#,
    )?;
    std::fs::write(
        package.join("test.xml"),
        r#"<qti-assessment-test xmlns="http://www.imsglobal.org/xsd/imsqtiasi_v3p0" identifier="gas-test" title="Gas test">
          <qti-test-part identifier="p" navigation-mode="nonlinear" submission-mode="simultaneous">
          <qti-assessment-section identifier="s" title="All" visible="true"><qti-selection select="1"/>
            <qti-assessment-item-ref identifier="a" href="items/blue.xml"/><qti-assessment-item-ref identifier="b" href="items/share.xml"/>
            <qti-assessment-item-ref identifier="c" href="items/where.xml"/>
          </qti-assessment-section></qti-test-part></qti-assessment-test>"#,
    )?;
    let import = |school: &School, more: &[&str]| {
        school
            .lyceum(&["import", "qti"])
            .arg(&package)
            .args(["--course", "gases"])
            .args(more)
            .output()
    };

    let dry = succeeded(import(&here, &["--lesson", "bottles", "--dry-run"])?)?;
    assert!(
        dry.contains("assessed   gases; assessments: 1 created; sections: 1 created; questions: 2 created; answer keys: 2 created"),
        "{dry}"
    );
    assert_eq!(
        findings(&dry),
        counts(&[
            ("item_missing", 1),
            ("not_xml", 1),
            ("shuffled_all", 1),
            ("unknown_interaction", 1)
        ])
    );
    let missing = import(&here, &["--lesson", "nowhere"])?;
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&missing.stdout)
            .contains("assessments[0].lesson: The course has no lesson nowhere."),
        "{missing:?}"
    );
    assert_eq!(import(&stranger, &[])?.status.code(), Some(2));

    succeeded(import(&here, &["--lesson", "bottles"])?)?;
    let before = rows(&database, "chemists").await?;
    let again = succeeded(import(&here, &["--lesson", "bottles"])?)?;
    assert!(
        again.starts_with("assessed   gases; unchanged\n"),
        "{again}"
    );
    assert_eq!(rows(&database, "chemists").await?, before);
    let found = database
        .query_one(
            "select a.key || ' ' || l.key || ' ' || s.draw_count || ' ' || string_agg(q.type || k.key, ', ' order by q.order_index)
             from lms.assessments a
             join lms.lessons l on l.id = a.lesson_id
             join lms.assessment_sections s on s.assessment_id = a.id
             join lms.questions q on q.section_id = s.id
             join private.answer_keys k on k.question_id = q.id
             join lms.tenants t on t.id = a.tenant_id and t.slug = 'chemists'
             group by a.key, l.key, s.draw_count",
            &[],
        )
        .await?;
    assert_eq!(
        found.get::<_, &str>(0),
        r#"gas-test bottles 1 single{"correct": "O2"}, numeric{"value": "20.9"}"#
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn banks_of_one_course_at_once_are_one_after_another() -> Result<()> {
    let database = sandbox().database().await?;
    let here = School::found(&database, "duellists", "instructor").await?;
    let scratch = Scratch::new("duel")?;
    let course = scratch.0.join("duel.json");
    std::fs::write(
        &course,
        r#"{"format": "lyceum-course-1", "slug": "duel", "title": "Duel"}"#,
    )?;
    here.import("course", &course)?;
    let course: uuid::Uuid = database
        .query_one("select id from lms.courses where slug = 'duel'", &[])
        .await?
        .get(0);
    // Each asks the same questions in another order, with other prompts and keys.
    let documents: Vec<_> = (0..8)
        .map(|version: usize| {
            let questions: Vec<_> = (0..20)
                .map(|n| {
                    json!({ "question_key": format!("q{}", (n + version) % 20), "type": "numeric",
                      "prompt": format!("Version {version}"), "answer": { "value": version.to_string() } })
                })
                .collect();
            json!({ "p_course_id": course, "p_document": { "format": "lyceum-assessments-1", "assessments": [
                { "key": "a", "title": format!("Version {version}"), "questions": questions }] } })
        })
        .collect();
    let calls = documents.iter().map(|document| {
        here.person
            .post("/rest/v1/rpc/import_assessments", document)
    });
    for answer in futures_util::future::try_join_all(calls).await? {
        assert!(answer.status.is_success(), "{answer:?}");
    }
    let found = database
        .query_one(
            "select count(*), count(distinct q.prompt), bool_and(q.prompt = a.title and k.key ->> 'value' = right(a.title, 1))
             from lms.questions q
             join lms.assessments a on a.id = q.assessment_id
             join private.answer_keys k on k.question_id = q.id
             where q.course_id = $1 and q.deleted_at is null",
            &[&course],
        )
        .await?;
    let found: (i64, i64, bool) = (found.get(0), found.get(1), found.get(2));
    assert_eq!(
        found,
        (20, 1, true),
        "all of one version, nothing of another"
    );
    Ok(())
}
