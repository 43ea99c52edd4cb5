//! A year of a company with six plants: people join, move, change job and leave, rules ask for training that runs out, people
//! complete it or not. Each month the training matrix is compared with a computation of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Days, Months, NaiveDate, NaiveTime, Utc};
use lyceum_e2e::{Options, Sandbox, shared};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

const PLANTS: usize = 6;
const TITLES: [&str; 4] = ["Welder", "Driver", "Fitter", "Clerk"];
const COURSES: usize = 8;
const RULES: usize = 12;

/// How many people there are at first; `make proof` asks for more.
const PEOPLE: usize = match option_env!("LYCEUM_RACES") {
    Some(_) => 1000,
    None => 300,
};

/// Numbers that are the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % sides
    }
}

struct Rule {
    id: Uuid,
    plant: Option<usize>,
    title: Option<usize>,
    courses: Vec<usize>,
    due_after_days: Option<u16>,
    recurs_every_months: Option<u16>,
    window: u16,
    is_active: bool,
}

impl Rule {
    fn due(&self, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let days = Days::new(u64::from(self.due_after_days?));
        Some(midnight_after(since.date_naive() + days))
    }

    fn runs_out(&self, completed: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let months = Months::new(u32::from(self.recurs_every_months?));
        Some(midnight_after(completed.date_naive() + months))
    }
}

struct Employee {
    id: Uuid,
    /// They work on the line of a plant; rules are about plants.
    plant: usize,
    title: usize,
    is_active: bool,
}

#[derive(Debug, PartialEq, Eq, Clone)]
struct Cell {
    state: String,
    due_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
}

/// Person and course, by their numbers here.
type Place = (usize, usize);

/// Rule, course and person, since when and until when.
type Term = (usize, usize, usize, DateTime<Utc>, Option<DateTime<Utc>>);

fn midnight_after(day: NaiveDate) -> DateTime<Utc> {
    (day + Days::new(1)).and_time(NaiveTime::MIN).and_utc()
}

/// What should be so, from the events alone.
#[derive(Default)]
struct Model {
    /// Rule, course and person to the moment since when.
    required: BTreeMap<(usize, usize, usize), DateTime<Utc>>,
    /// What was so once, and until when.
    ended: BTreeSet<Term>,
    completed: BTreeMap<Place, DateTime<Utc>>,
    waived_until: BTreeMap<Place, DateTime<Utc>>,
}

impl Model {
    fn follow(&mut self, rules: &[Rule], people: &[Employee], now: DateTime<Utc>) {
        let mut current = BTreeSet::new();
        for (r, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.is_active) {
            for (p, person) in people.iter().enumerate().filter(|(_, one)| one.is_active) {
                if rule.plant.is_none_or(|plant| plant == person.plant)
                    && rule.title.is_none_or(|title| title == person.title)
                {
                    current.extend(rule.courses.iter().map(|course| (r, *course, p)));
                }
            }
        }
        for (key, since) in &self.required {
            if !current.contains(key) {
                let (rule, course, person) = *key;
                self.ended.insert((rule, course, person, *since, Some(now)));
            }
        }
        self.required.retain(|key, _| current.contains(key));
        for key in current {
            self.required.entry(key).or_insert(now);
        }
    }

    fn history(&self) -> BTreeSet<Term> {
        self.required
            .iter()
            .map(|((rule, course, person), since)| (*rule, *course, *person, *since, None))
            .chain(self.ended.iter().copied())
            .collect()
    }

    fn matrix(&self, rules: &[Rule], now: DateTime<Utc>) -> BTreeMap<Place, Cell> {
        let mut asked: BTreeMap<Place, Vec<(&Rule, DateTime<Utc>)>> = BTreeMap::new();
        for ((r, course, person), since) in &self.required {
            let place = asked.entry((*person, *course)).or_default();
            place.push((&rules[*r], *since));
        }
        asked
            .into_iter()
            .map(|(place, asked)| (place, self.cell(place, &asked, now)))
            .collect()
    }

    fn cell(
        &self,
        (person, course): Place,
        asked: &[(&Rule, DateTime<Utc>)],
        now: DateTime<Utc>,
    ) -> Cell {
        let past = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at <= now);
        let completed_at = self.completed.get(&(person, course)).copied();
        // By a rule that somebody came under after their completion had run out, they are due as if they had none.
        let (mut due, mut expires, mut opens) = (None, None, None);
        let mut is_asked_anew = false;
        let earlier = |one: Option<DateTime<Utc>>, other: Option<DateTime<Utc>>| {
            one.into_iter().chain(other).min()
        };
        for (rule, since) in asked.iter().copied() {
            let runs_out = completed_at.map(|done| rule.runs_out(done));
            match runs_out {
                Some(at) if at.is_none_or(|at| at > since) => {
                    expires = earlier(expires, at);
                    opens = earlier(opens, at.map(|at| at - Days::new(u64::from(rule.window))));
                }
                _ => {
                    is_asked_anew = true;
                    due = earlier(due, rule.due(since));
                }
            }
        }
        let state = if past(due) {
            "overdue"
        } else if past(expires) {
            "expired"
        } else if is_asked_anew {
            "due"
        } else if past(opens) {
            "expiring"
        } else {
            "done"
        };
        let due_at = earlier(due, expires);
        let waived = self
            .waived_until
            .get(&(person, course))
            .is_some_and(|until| *until > now);
        Cell {
            state: if waived { "waived" } else { state }.to_owned(),
            due_at,
            completed_at,
        }
    }
}

struct Company {
    database: Client,
    tenant: Uuid,
    lines: Vec<Uuid>,
    courses: Vec<Uuid>,
    rules: Vec<Rule>,
    people: Vec<Employee>,
    model: Model,
    dice: Dice,
}

impl Company {
    async fn found() -> Result<Self> {
        let sandbox = shared(
            &SANDBOX,
            Options {
                functions: false,
                seed: false,
            },
        );
        let database = sandbox.database().await?;
        let tag = Uuid::new_v4().simple().to_string();
        let teacher = sandbox
            .new_person(&format!("{tag}@plants.example"))
            .await?
            .id;
        let tenant: Uuid = database
            .query_one(
                "insert into lms.tenants (slug, name, time_zone) values ($1::text, 'Plants', 'UTC') returning id",
                &[&tag],
            )
            .await?
            .get(0);
        let mut company = Self {
            database,
            tenant,
            lines: Vec::new(),
            courses: Vec::new(),
            rules: Vec::new(),
            people: Vec::new(),
            model: Model::default(),
            dice: Dice(0x5EED),
        };
        // Guests are under no rule, not even one for everybody.
        company
            .run(
                "insert into lms.memberships (tenant_id, user_id, is_guest) values ($1, $2, true)",
                &[&tenant, &teacher],
            )
            .await?;
        let plants = company.build(teacher).await?;
        company.lay_down_rules(&plants).await?;
        Ok(company)
    }

    async fn run(&self, statement: &str, values: &[&(dyn ToSql + Sync)]) -> Result<()> {
        self.database
            .execute(statement, values)
            .await
            .with_context(|| statement.to_owned())?;
        Ok(())
    }

    async fn set_clock(&self, now: DateTime<Utc>) -> Result<()> {
        let now = now.to_rfc3339();
        self.run("select set_config('lyceum.now', $1, false)", &[&now])
            .await
    }

    async fn build(&mut self, teacher: Uuid) -> Result<Vec<Uuid>> {
        let mut plants = Vec::new();
        for number in 0..PLANTS {
            let (plant, line) = (Uuid::new_v4(), Uuid::new_v4());
            self.run(
                "insert into lms.org_units (id, tenant_id, name) values ($1, $2, $3::text)",
                &[&plant, &self.tenant, &format!("Plant {number}")],
            )
            .await?;
            self.run(
                "insert into lms.org_units (id, tenant_id, parent_id, name) values ($1, $2, $3, 'Line')",
                &[&line, &self.tenant, &plant],
            )
            .await?;
            plants.push(plant);
            self.lines.push(line);
        }
        for number in 0..COURSES {
            let id = Uuid::new_v4();
            self.run(
                "insert into lms.courses (id, tenant_id, slug, title, instructor_id) values ($1, $2, $3::text, 'Course', $4)",
                &[&id, &self.tenant, &format!("course-{number}"), &teacher],
            )
            .await?;
            self.database
                .batch_execute(&format!(
                    "insert into lms.modules (course_id, title) values ('{id}', 'Only');
                     insert into lms.lessons (module_id, title) select m.id, 'Only' from lms.modules m where m.course_id = '{id}';
                     select lms.publish_course('{id}')"
                ))
                .await?;
            self.courses.push(id);
        }
        Ok(plants)
    }

    async fn lay_down_rules(&mut self, plants: &[Uuid]) -> Result<()> {
        for number in 0..RULES {
            let courses: BTreeSet<usize> = (0..=self.dice.roll(2))
                .map(|_| self.dice.roll(COURSES))
                .collect();
            let rule = Rule {
                id: Uuid::new_v4(),
                plant: (number % 4 != 0).then(|| self.dice.roll(PLANTS)),
                title: (number % 3 != 1).then(|| self.dice.roll(TITLES.len())),
                courses: courses.into_iter().collect(),
                due_after_days: [None, Some(0), Some(7), Some(14), Some(30)][self.dice.roll(5)],
                recurs_every_months: [None, Some(2), Some(3), Some(6), Some(12)][self.dice.roll(5)],
                window: [0, 14, 30][self.dice.roll(3)],
                is_active: false,
            };
            self.run(
                "insert into lms.assignment_rules
                   (id, tenant_id, name, unit_id, job_title, due_after_days, recurs_every_months, renewal_window_days)
                 values ($1, $2, 'Rule', $3, $4, $5, $6, $7)",
                &[
                    &rule.id,
                    &self.tenant,
                    &rule.plant.map(|plant| plants[plant]),
                    &rule.title.map(|title| TITLES[title]),
                    &rule.due_after_days.map(i32::from),
                    &rule.recurs_every_months.map(i32::from),
                    &i32::from(rule.window),
                ],
            )
            .await?;
            for course in &rule.courses {
                self.run(
                    "insert into lms.assignment_rule_courses (rule_id, course_id) values ($1, $2)",
                    &[&rule.id, &self.courses[*course]],
                )
                .await?;
            }
            self.rules.push(rule);
        }
        Ok(())
    }

    async fn join(&mut self) -> Result<()> {
        let person = Employee {
            id: Uuid::new_v4(),
            plant: self.dice.roll(PLANTS),
            title: self.dice.roll(TITLES.len()),
            is_active: true,
        };
        self.run(
            "insert into auth.users (instance_id, id, aud, role, email, created_at, updated_at)
             values ('00000000-0000-0000-0000-000000000000', $1, 'authenticated', 'authenticated', $2, now(), now())",
            &[&person.id, &format!("{}@plants.example", person.id)],
        )
        .await?;
        self.run(
            "insert into lms.memberships (tenant_id, user_id, unit_id, job_title) values ($1, $2, $3, $4)",
            &[
                &self.tenant,
                &person.id,
                &self.lines[person.plant],
                &TITLES[person.title],
            ],
        )
        .await?;
        self.people.push(person);
        Ok(())
    }

    /// Something happens to somebody.
    async fn live(&mut self, now: DateTime<Utc>) -> Result<()> {
        let p = self.dice.roll(self.people.len());
        if !self.people[p].is_active {
            return Ok(());
        }
        match self.dice.roll(20) {
            0 => {
                self.people[p].plant = self.dice.roll(PLANTS);
                let line = self.lines[self.people[p].plant];
                self.change(p, "unit_id = $3", &line).await
            }
            1 => {
                self.people[p].title = self.dice.roll(TITLES.len());
                // Written as people write it.
                let title = format!(" {} ", TITLES[self.people[p].title].to_uppercase());
                self.change(p, "job_title = $3", &title).await
            }
            2 if self.dice.roll(3) == 0 => {
                self.people[p].is_active = false;
                self.change(p, "status = $3", &"ended").await
            }
            3 => self.excuse(p, now).await,
            4 => self.join().await,
            _ => self.complete(p, now).await,
        }
    }

    async fn change(&self, p: usize, what: &str, value: &(dyn ToSql + Sync)) -> Result<()> {
        let statement =
            format!("update lms.memberships set {what} where tenant_id = $1 and user_id = $2");
        self.run(&statement, &[&self.tenant, &self.people[p].id, value])
            .await
    }

    async fn excuse(&mut self, p: usize, now: DateTime<Utc>) -> Result<()> {
        let course = self.dice.roll(COURSES);
        let until = now + Days::new(40);
        self.model.waived_until.insert((p, course), until);
        self.run(
            "insert into lms.training_waivers (tenant_id, user_id, course_id, reason, granted_at, expires_at)
             values ($1, $2, $3, 'On leave', $4, $5)",
            &[
                &self.tenant,
                &self.people[p].id,
                &self.courses[course],
                &now,
                &until,
            ],
        )
        .await
    }

    /// Completes a cycle that is open, if there is one.
    async fn complete(&mut self, p: usize, now: DateTime<Utc>) -> Result<()> {
        let open = self
            .database
            .query_opt(
                "select e.course_id, l.lesson_id
                 from lms.enrollments e join lms.version_lessons l on l.version_id = e.version_id
                 where e.user_id = $1 and e.status in ('enrolled', 'in_progress')
                 order by e.due_at nulls last, e.course_id limit 1",
                &[&self.people[p].id],
            )
            .await?;
        let Some(row) = open else { return Ok(()) };
        let (course, lesson): (Uuid, Uuid) = (row.get(0), row.get(1));
        self.run(
            "insert into lms.lesson_progress (user_id, lesson_id, progress_percentage, completed_at, first_accessed_at)
             values ($1, $2, 100, $3, $3)",
            &[&self.people[p].id, &lesson, &now],
        )
        .await?;
        let course = self.course(course)?;
        self.model.completed.insert((p, course), now);
        Ok(())
    }

    fn course(&self, id: Uuid) -> Result<usize> {
        let place = self.courses.iter().position(|course| *course == id);
        place.context("a course of the company")
    }

    async fn set_rule(&mut self, number: usize, status: &str, date: &str) -> Result<()> {
        self.rules[number].is_active = status == "active";
        let statement = format!(
            "update lms.assignment_rules set status = $2, {date} = private.training_clock() where id = $1"
        );
        self.run(&statement, &[&self.rules[number].id, &status])
            .await
    }

    fn numbers(&self) -> BTreeMap<Uuid, usize> {
        let numbered = self.people.iter().enumerate();
        numbered.map(|(number, one)| (one.id, number)).collect()
    }

    /// All that was ever asked of anybody.
    async fn history(&self) -> Result<BTreeSet<Term>> {
        let people = self.numbers();
        let rows = self
            .database
            .query(
                "select rule_id, course_id, user_id, since, ended_at from lms.training_requirements where tenant_id = $1",
                &[&self.tenant],
            )
            .await?;
        let terms = rows.iter().map(|row| {
            let rule: Uuid = row.get(0);
            let rule = self.rules.iter().position(|one| one.id == rule);
            Ok((
                rule.context("a rule of the company")?,
                self.course(row.get(1))?,
                *people.get(&row.get(2)).context("somebody of the company")?,
                row.get(3),
                row.get(4),
            ))
        });
        terms.collect()
    }

    /// As the job does that comes each minute: in steps, until nothing is left.
    async fn work_off_marks(&self) -> Result<()> {
        for _ in 0..100 {
            self.run("select ops.apply_assignment_marks()", &[]).await?;
            let left = "select from private.assignment_marks where tenant_id = $1 limit 1";
            if self
                .database
                .query_opt(left, &[&self.tenant])
                .await?
                .is_none()
            {
                return Ok(());
            }
        }
        anyhow::bail!("marks are never worked off")
    }

    async fn matrix(&self) -> Result<BTreeMap<Place, Cell>> {
        let numbers = self.numbers();
        let mut cells = BTreeMap::new();
        let mut after: Option<Uuid> = None;
        loop {
            let rows = self
                .database
                .query(
                    "select user_id, course_id, state, due_at, completed_at
                     from lms.get_training_status($1, p_limit => 100, p_after_user_id => $2)",
                    &[&self.tenant, &after],
                )
                .await?;
            let Some(last) = rows.last() else {
                return Ok(cells);
            };
            after = Some(last.get(0));
            for row in &rows {
                let user: Uuid = row.get(0);
                let person = numbers.get(&user).copied();
                let place = (
                    person.context("somebody of the company")?,
                    self.course(row.get(1))?,
                );
                let cell = Cell {
                    state: row.get(2),
                    due_at: row.get(3),
                    completed_at: row.get(4),
                };
                cells.insert(place, cell);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_six_plants_is_what_an_independent_computation_says() -> Result<()> {
    let mut company = Company::found().await?;
    let first = NaiveDate::from_ymd_opt(2025, 1, 1).context("a day")?;
    company
        .set_clock(first.and_time(NaiveTime::MIN).and_utc())
        .await?;
    for _ in 0..PEOPLE {
        company.join().await?;
    }
    let mut seen = BTreeSet::new();
    for day in (0..=366).step_by(3) {
        let now = (first + Days::new(day))
            .and_hms_opt(10, 0, 0)
            .context("a time")?
            .and_utc();
        company.set_clock(now).await?;
        // One rule after the other comes into force, and two end.
        match day {
            240 => company.set_rule(0, "ended", "ended_at").await?,
            270 => company.set_rule(1, "ended", "ended_at").await?,
            day if day % 15 == 0 => {
                let number = usize::try_from(day / 15)?;
                if number < RULES {
                    company.set_rule(number, "active", "activated_at").await?;
                }
            }
            _ => {}
        }
        for _ in 0..PEOPLE / 6 {
            company.live(now).await?;
        }
        company.model.follow(&company.rules, &company.people, now);
        // Two weeks without any job, in which a rule comes into force, and a month without the nightly one: the next run
        // catches up, with the days on which things happened.
        if (63..=78).contains(&day) {
            continue;
        }
        company.work_off_marks().await?;
        if !(120..150).contains(&day) {
            company
                .run("select ops.apply_assignment_rules()", &[])
                .await?;
            company.work_off_marks().await?;
        }
        if day % 30 == 0 {
            // As autovacuum does while a company grows.
            company.run("analyze lms.enrollments, lms.lesson_progress, lms.training_requirements, lms.memberships, lms.certificates, public.profiles, auth.users", &[]).await?;
            let expected = company.model.matrix(&company.rules, now);
            let found = company.matrix().await?;
            for (place, cell) in &expected {
                assert_eq!(found.get(place), Some(cell), "day {day}, {place:?}");
            }
            assert_eq!(found.len(), expected.len(), "day {day}");
            let (expected_history, history) = (company.model.history(), company.history().await?);
            let different: Vec<_> = history.symmetric_difference(&expected_history).collect();
            assert!(
                different.is_empty(),
                "day {day}: {:?}",
                &different[..different.len().min(9)]
            );
            seen.extend(expected.into_values().map(|cell| cell.state));
        }
    }
    // The year was long enough to say something.
    let all = ["done", "due", "expired", "expiring", "overdue", "waived"];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), all);

    // INV-E1, and history is intact: one open cycle at most, and whoever has completed a course has that cycle.
    let row = company
        .database
        .query_one(
            "select
               (select count(*) from (
                  select from lms.enrollments e
                  where e.tenant_id = $1 and e.status in ('enrolled', 'in_progress', 'paused')
                  group by e.user_id, e.course_id having count(*) > 1
                ) twice),
               (select count(distinct (e.user_id, e.course_id)) from lms.enrollments e
                where e.tenant_id = $1 and e.status = 'completed')",
            &[&company.tenant],
        )
        .await?;
    assert_eq!(row.get::<_, i64>(0), 0);
    let completed = i64::try_from(company.model.completed.len())?;
    assert_eq!(row.get::<_, i64>(1), completed);
    Ok(())
}
