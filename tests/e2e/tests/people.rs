//! `lyceum import people`: after each file, the tenant is as a model of the rules says that was written from the rows
//! alone, row for row; a file that is applied again changes nothing, and an interrupted one is simply repeated.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lyceum_e2e::{Options, Sandbox, program, root};
use tokio_postgres::Client;
use uuid::Uuid;

const PLAIN: Options = Options {
    functions: false,
    seed: false,
};
const HEADER: [&str; 9] = [
    "Employee_Number",
    "email",
    "LAST_NAME",
    "first_name",
    "unit",
    "job_title",
    "role",
    "role_scope",
    "status",
];
/// Units of the tenant; the last one is archived.
const UNITS: usize = 20;
const ARCHIVED: &str = "U20";
const TITLES: [&str; 5] = [
    "Welder",
    "Clerk",
    "Cook, senior",
    "Driver \"B\"",
    "Müller; lead",
];

// The model ===========================================================================================================

/// A row of the file, as its cells are.
#[derive(Debug, Clone, Default)]
struct Row {
    number: String,
    email: String,
    last_name: String,
    first_name: String,
    unit: String,
    title: String,
    role: String,
    scope: String,
    status: String,
    damage: Option<Damage>,
}

/// Why a row cannot be read.
#[derive(Debug, Clone, Copy)]
enum Damage {
    AnotherColumn,
    NotText,
    LineBreak,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    status: &'static str,
    unit: String,
    number: String,
    title: String,
    /// Role and unit; the unit is empty where the role covers the tenant.
    grants: BTreeSet<(String, String)>,
    left_by_choice: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Invitation {
    unit: String,
    number: String,
    title: String,
    role: String,
    is_for_the_tenant: bool,
    names: String,
}

/// A tenant as the rules of the import make it.
#[derive(Debug, Clone, Default)]
struct Model {
    members: BTreeMap<String, Member>,
    /// Addresses with a login that nobody has confirmed: these people are invited.
    unconfirmed: BTreeSet<String>,
    invited: BTreeMap<String, Invitation>,
    /// First and last name, by address: of whoever had a login before, their own; else what the file says that makes it.
    names: BTreeMap<String, String>,
}

/// Action and code, by line of the file, or by the number of somebody whom it does not name.
type Outcomes = BTreeMap<String, (String, String)>;

impl Model {
    fn apply(&mut self, file: &[Row], end_limit: usize) -> Outcomes {
        let before = self.members.clone();
        let by_number: HashMap<&str, &str> = before
            .iter()
            .filter(|(_, member)| !member.number.is_empty())
            .map(|(email, member)| (member.number.as_str(), email.as_str()))
            .collect();
        let mut outcomes = Outcomes::new();
        let mut seen = HashSet::new();
        let mut named = HashSet::new();
        let mut spoken_of = HashSet::new();
        let mut somebody_unknown = false;
        let mut line = 2;
        for row in file {
            let here = line.to_string();
            line += if matches!(row.damage, Some(Damage::LineBreak)) {
                2
            } else {
                1
            };
            if let Some(damage) = row.damage {
                somebody_unknown = true;
                let code = match damage {
                    Damage::AnotherColumn => "wrong_number_of_columns",
                    Damage::NotText => "not_text",
                    Damage::LineBreak => "line_break",
                };
                outcomes.insert(here, ("failed".into(), code.into()));
                continue;
            }
            let email = row.email.trim().to_lowercase();
            let number = row.number.trim().to_owned();
            let of_number = by_number.get(number.as_str()).copied();
            let of_email = before
                .get_key_value(&email)
                .map(|(email, _)| email.as_str());
            let member = of_number.or(of_email);
            spoken_of.extend([number.clone(), email.clone()]);
            named.extend(
                [of_number, of_email]
                    .into_iter()
                    .flatten()
                    .map(str::to_owned),
            );
            let mut is_second = false;
            for (kind, key) in [
                ("number", number.as_str()),
                ("email", &email),
                ("member", member.unwrap_or_default()),
            ] {
                is_second |= !key.is_empty() && !seen.insert((kind, key.to_owned()));
            }
            let outcome = match self.fault(row, &number, &email, is_second, of_number, of_email) {
                Some("login_refused") => {
                    somebody_unknown = true;
                    ("failed".into(), "login_refused".into())
                }
                Some(code) => ("failed".into(), code.into()),
                None => match member {
                    Some(member) => {
                        let code = if !email.is_empty() && member != email {
                            "email_differs"
                        } else {
                            ""
                        };
                        (self.change(member, row, &number).into(), code.into())
                    }
                    None => (self.add(row, &number, &email).into(), String::new()),
                },
            };
            outcomes.insert(here, outcome);
        }
        if end_limit > 0 && !somebody_unknown {
            let missing: Vec<_> = self
                .members
                .iter()
                .filter(|(email, member)| {
                    member.status != "ended"
                        && !member.number.is_empty()
                        && !named.contains(*email)
                        && before.contains_key(*email)
                })
                .map(|(email, _)| email.clone())
                .collect();
            assert!(missing.len() <= end_limit, "{} are missing", missing.len());
            for email in missing {
                let member = self.member(&email);
                end(member);
                let key = format!("missing {}", member.number);
                outcomes.insert(key, ("ended".into(), String::new()));
            }
            self.invited.retain(|email, invitation| {
                let stays = spoken_of.contains(email) || spoken_of.contains(&invitation.number);
                if !stays {
                    let key = format!("missing {}", invitation.number);
                    outcomes.insert(key, ("ended".into(), String::new()));
                }
                stays
            });
        }
        outcomes
    }

    fn fault(
        &self,
        row: &Row,
        number: &str,
        email: &str,
        is_second: bool,
        of_number: Option<&str>,
        of_email: Option<&str>,
    ) -> Option<&'static str> {
        let form = [
            (number.is_empty() && email.is_empty(), "nobody_named"),
            (number.len() > 60, "employee_number_too_long"),
            (!email.is_empty() && !email.contains('@'), "invalid_email"),
            (row.title.len() > 200, "job_title_too_long"),
            (row.last_name.len() > 100, "invalid_name"),
            (
                !["", "unit", "tenant"].contains(&row.scope.as_str()),
                "invalid_role_scope",
            ),
            (
                !["", "active", "suspended", "ended"].contains(&row.status.as_str()),
                "invalid_status",
            ),
            (is_second, "named_twice"),
            (
                of_number.is_some() && of_email.is_some() && of_number != of_email,
                "two_people",
            ),
        ];
        if let Some((_, code)) = form.into_iter().find(|(is_so, _)| *is_so) {
            return Some(code);
        }
        if row.status == "ended" {
            return None;
        }
        let member = of_number.or(of_email).map(|email| &self.members[email]);
        let is_limited_nowhere = row.unit.is_empty() && row.scope != "tenant";
        let is_moving_in = member.is_none_or(|member| member.unit != row.unit);
        let rest = [
            (
                !row.unit.is_empty() && !units().contains(&row.unit),
                "unit_not_found",
            ),
            (
                !["", "learner", "unit_manager", "instructor"].contains(&row.role.as_str()),
                "role_not_found",
            ),
            (member.is_none() && email.is_empty(), "email_missing"),
            (
                member.is_some_and(|member| member.status == "ended" && member.left_by_choice),
                "left_by_choice",
            ),
            (row.unit == ARCHIVED && is_moving_in, "unit_archived"),
            (
                ["unit_manager", "instructor"].contains(&row.role.as_str()) && is_limited_nowhere,
                "role_scope_missing",
            ),
            (member.is_none() && email.contains("@-"), "login_refused"),
        ];
        rest.into_iter()
            .find(|(is_so, _)| *is_so)
            .map(|(_, code)| code)
    }

    fn member(&mut self, email: &str) -> &mut Member {
        self.members
            .get_mut(email)
            .unwrap_or_else(|| panic!("{email} is no member"))
    }

    fn change(&mut self, email: &str, row: &Row, number: &str) -> &'static str {
        let member = self.member(email);
        let old = member.clone();
        if row.status == "ended" {
            end(member);
            return if old.status == "ended" {
                "unchanged"
            } else {
                "ended"
            };
        }
        member.unit.clone_from(&row.unit);
        member.title.clone_from(&row.title);
        if !number.is_empty() {
            number.clone_into(&mut member.number);
        }
        member.status = match (row.status.as_str(), old.status) {
            ("suspended", _) | ("", "suspended") => "suspended",
            _ => "active",
        };
        if old.status == "ended" || !row.role.is_empty() {
            let role = if row.role.is_empty() {
                "learner"
            } else {
                &row.role
            };
            let scope = if row.scope == "tenant" { "" } else { &row.unit };
            let wanted = (role.to_owned(), scope.to_owned());
            if !member.grants.contains(&(role.to_owned(), String::new()))
                && !member.grants.contains(&wanted)
            {
                if scope != old.unit {
                    member.grants.remove(&(role.to_owned(), old.unit.clone()));
                }
                member.grants.insert(wanted);
            }
        }
        if old.status == "ended" {
            "restored"
        } else if old.unit != member.unit {
            "moved"
        } else if old != *member {
            "updated"
        } else {
            "unchanged"
        }
    }

    fn invite(&mut self, row: &Row, number: &str, email: &str) -> &'static str {
        let open = self.invited.get(email);
        let mut wanted = Invitation {
            unit: row.unit.clone(),
            number: number.to_owned(),
            title: row.title.clone(),
            role: "learner".into(),
            is_for_the_tenant: row.scope == "tenant",
            names: names_in(row),
        };
        // What the row does not speak of stays.
        if let (Some(open), true) = (open, row.role.is_empty()) {
            wanted.role.clone_from(&open.role);
            wanted.is_for_the_tenant = open.is_for_the_tenant;
        } else if !row.role.is_empty() {
            wanted.role.clone_from(&row.role);
        }
        if open == Some(&wanted) {
            return "unchanged";
        }
        self.invited.insert(email.to_owned(), wanted);
        "invited"
    }

    fn add(&mut self, row: &Row, number: &str, email: &str) -> &'static str {
        if row.status == "ended" {
            return if self.invited.remove(email).is_some() {
                "ended"
            } else {
                "unchanged"
            };
        }
        if self.unconfirmed.contains(email) {
            return self.invite(row, number, email);
        }
        self.names
            .entry(email.to_owned())
            .or_insert_with(|| names_in(row));
        let role = if row.role.is_empty() {
            "learner"
        } else {
            &row.role
        };
        let scope = if row.scope == "tenant" { "" } else { &row.unit };
        let member = Member {
            status: if row.status == "suspended" {
                "suspended"
            } else {
                "active"
            },
            unit: row.unit.clone(),
            number: number.to_owned(),
            title: row.title.clone(),
            grants: BTreeSet::from([(role.to_owned(), scope.to_owned())]),
            left_by_choice: false,
        };
        self.members.insert(email.to_owned(), member);
        "created"
    }

    fn standings(&self) -> BTreeMap<String, String> {
        let standing = |email: &str, member: &Member| {
            let grants: Vec<_> = member
                .grants
                .iter()
                .map(|(role, unit)| format!("{role}@{unit}"))
                .collect();
            format!(
                "{}|{}|{}|{}|{}|{}",
                member.status,
                member.unit,
                member.number,
                member.title,
                grants.join(","),
                self.names[email]
            )
        };
        let offer = |invitation: &Invitation| {
            let Invitation {
                unit,
                number,
                title,
                role,
                is_for_the_tenant,
                names,
            } = invitation;
            let scope = if *is_for_the_tenant { "" } else { unit };
            format!("invited|{unit}|{number}|{title}|{role}@{scope}|{names}")
        };
        self.members
            .iter()
            .map(|(email, member)| (email.clone(), standing(email, member)))
            .chain(
                self.invited
                    .iter()
                    .map(|(email, invitation)| (email.clone(), offer(invitation))),
            )
            .collect()
    }
}

fn end(member: &mut Member) {
    member.status = "ended";
    member.grants.clear();
}

fn names_in(row: &Row) -> String {
    format!("{}/{}", row.first_name.trim(), row.last_name.trim())
}

fn units() -> Vec<String> {
    (1..=UNITS).map(|number| format!("U{number}")).collect()
}

// The files ===========================================================================================================

/// Numbers that look random and are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap_or_default()
    }

    fn unit(&mut self) -> String {
        format!("U{}", 1 + self.below(UNITS - 1))
    }
}

fn newcomer(dice: &mut Dice, number: usize) -> Row {
    Row {
        number: format!("N{number:05}"),
        email: format!("Person{number}@Feed.example"),
        last_name: format!("Last{number}"),
        first_name: "=Ana".into(),
        unit: if dice.below(10) == 0 {
            String::new()
        } else {
            dice.unit()
        },
        title: TITLES[dice.below(TITLES.len())].into(),
        role: ["", "", "", "learner"][dice.below(4)].into(),
        ..Row::default()
    }
}

/// Faults of form and fit, which any row can be given.
const FAULTS: usize = 14;

fn spoil(row: &mut Row, fault: usize) {
    match fault {
        0 => (row.number, row.email) = (String::new(), " ".into()),
        1 => row.number = "9".repeat(61),
        2 => row.email = "nobody".into(),
        3 => row.title = "x".repeat(201),
        4 => row.last_name = "x".repeat(101),
        5 => row.scope = "world".into(),
        6 => row.status = "fired".into(),
        7 => row.unit = "NOWHERE".into(),
        8 => row.role = "king".into(),
        9 => row.unit = ARCHIVED.into(),
        10 => {
            (row.role, row.unit, row.scope) = ("unit_manager".into(), String::new(), "unit".into())
        }
        // Of somebody unknown.
        11 => (row.number, row.email) = (format!("X{}", row.number), String::new()),
        12 => (row.number, row.email) = ("N00007".into(), row.email.clone()),
        _ => row.email = "person8@feed.example".into(),
    }
}

fn damage(row: &mut Row, kind: usize) {
    match kind {
        0 => row.damage = Some(Damage::AnotherColumn),
        1 => row.damage = Some(Damage::NotText),
        2 => row.damage = Some(Damage::LineBreak),
        _ => row.email = format!("x{}@-bad.example", row.number.to_lowercase()),
    }
}

/// The bytes of a file in the manner of a spreadsheet program.
fn to_csv(rows: &[Row], delimiter: char) -> Vec<u8> {
    let mut bytes = "\u{feff}".as_bytes().to_vec();
    let mut line = |cells: &[&str], damage: Option<Damage>| {
        let mut cells: Vec<String> = cells
            .iter()
            .map(|cell| {
                if cell.contains([delimiter, '"']) {
                    format!("\"{}\"", cell.replace('"', "\"\""))
                } else {
                    (*cell).to_owned()
                }
            })
            .collect();
        match damage {
            Some(Damage::AnotherColumn) => cells.push("extra".into()),
            Some(Damage::LineBreak) => cells[3] = "\"An\na\"".into(),
            Some(Damage::NotText) => cells[3] = "\u{1}".into(),
            None => {}
        }
        let text = format!("{}\r\n", cells.join(&delimiter.to_string()));
        bytes.extend(text.bytes().map(|byte| if byte == 1 { 0xe9 } else { byte }));
    };
    line(&HEADER, None);
    for row in rows {
        let Row {
            number,
            email,
            last_name,
            first_name,
            unit,
            title,
            role,
            scope,
            status,
            ..
        } = row;
        line(
            &[
                number, email, last_name, first_name, unit, title, role, scope, status,
            ],
            row.damage,
        );
    }
    bytes
}

// The stack ===========================================================================================================

struct World {
    sandbox: Sandbox,
    database: Client,
    folder: PathBuf,
}

impl World {
    async fn new() -> Result<Self> {
        let sandbox = Sandbox::start(PLAIN)?;
        let (database, connection) =
            tokio_postgres::connect(sandbox.address("ADMIN_DB_URL"), tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        let folder = std::env::temp_dir().join(format!("lyceum-people-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            sandbox,
            database,
            folder,
        })
    }

    async fn tenant(&self, slug: &str) -> Result<Uuid> {
        let tenant: Uuid = self
            .database
            .query_one(
                "insert into lms.tenants (slug, name) values ($1::text, $1::text) returning id",
                &[&slug],
            )
            .await?
            .get(0);
        self.database
            .execute(
                "insert into lms.org_units (tenant_id, code, name, archived_at)
                 select $1, code, code, case when code = $3 then now() end from unnest($2::text[]) as code",
                &[&tenant, &units(), &ARCHIVED],
            )
            .await?;
        Ok(tenant)
    }

    fn file(&self, name: &str, rows: &[Row], delimiter: char) -> Result<PathBuf> {
        let path = self.folder.join(name);
        std::fs::write(&path, to_csv(rows, delimiter))?;
        Ok(path)
    }

    fn import(&self, tenant: &str, file: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args([
                "import",
                "people",
                "--quiet",
                "--tenant",
                tenant,
                "--api-url",
            ])
            .arg(self.sandbox.address("API_URL"))
            .arg("--report")
            .arg(self.report())
            .args(more)
            .arg(file)
            .env("SERVICE_ROLE_KEY", self.sandbox.address("SERVICE_ROLE_KEY"))
            .current_dir(root());
        command
    }

    fn report(&self) -> PathBuf {
        self.folder.join("report.csv")
    }

    /// Runs an import to its end: the rows of the report.
    fn imported(&self, tenant: &str, file: &Path, more: &[&str]) -> Result<Outcomes> {
        let begun = Instant::now();
        let output = self.import(tenant, file, more).output()?;
        println!("{} {more:?}: {:?}", file.display(), begun.elapsed());
        let outcomes =
            outcomes(&std::fs::read_to_string(self.report()).with_context(|| said(&output))?);
        let failed = outcomes.values().any(|(action, _)| action == "failed");
        ensure!(
            output.status.code() == Some(i32::from(failed)),
            said(&output)
        );
        Ok(outcomes)
    }

    async fn count(&self, sql: &str) -> Result<i64> {
        Ok(self.database.query_one(sql, &[]).await?.get(0))
    }

    /// Memberships with names and roles, and open invitations with what they offer, by address.
    async fn standings(&self, tenant: Uuid) -> Result<BTreeMap<String, String>> {
        let rows = self
            .database
            .query(
                "select a.email::text, concat_ws(
                   '|', m.status, coalesce(u.code, ''), coalesce(m.employee_number, ''), coalesce(m.job_title, ''),
                   coalesce((
                     select string_agg(r.key || '@' || coalesce(gu.code, ''), ',' order by r.key collate \"C\", gu.code collate \"C\")
                     from lms.role_grants g
                     join lms.roles r on r.id = g.role_id
                     left join lms.org_units gu on gu.id = g.unit_id
                     where g.membership_id = m.id
                   ), ''), p.first_name || '/' || p.last_name
                 )
                 from lms.memberships m
                 join auth.users a on a.id = m.user_id
                 join public.profiles p on p.id = m.user_id
                 left join lms.org_units u on u.id = m.unit_id
                 where m.tenant_id = $1
                 union all
                 select i.email::text, concat_ws(
                   '|', 'invited', coalesce(u.code, ''), coalesce(i.employee_number, ''), coalesce(i.job_title, ''),
                   r.key || '@' || coalesce(case when i.limited_to_unit then u.code end, ''),
                   i.first_name || '/' || i.last_name
                 )
                 from lms.invitations i
                 join lms.roles r on r.id = i.role_id
                 left join lms.org_units u on u.id = i.unit_id
                 where i.tenant_id = $1 and i.accepted_at is null and i.revoked_at is null",
                &[&tenant],
            )
            .await?;
        let standings: BTreeMap<String, String> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        ensure!(standings.len() == rows.len(), "somebody is there twice");
        Ok(standings)
    }

    /// A checksum of all rows that an import could touch, with their versions.
    async fn versions(&self) -> Result<String> {
        let row = self
            .database
            .query_one(
                "select md5(string_agg(v, '|' order by v)) from (
                   select 'm' || m.id || m.xmin || m.ctid from lms.memberships m
                   union all select 'g' || g.id || g.xmin || g.ctid from lms.role_grants g
                   union all select 'i' || i.id || i.xmin || i.ctid from lms.invitations i
                   union all select 'p' || p.id || p.xmin || p.ctid from public.profiles p
                   union all select 'u' || u.id || u.xmin || u.ctid from auth.users u
                 ) as versions (v)",
                &[],
            )
            .await?;
        Ok(row.get(0))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn said(output: &Output) -> String {
    format!(
        "{:?}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn outcomes(report: &str) -> Outcomes {
    report
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<_> = line.splitn(6, ',').collect();
            let key = if cells[0].is_empty() {
                format!("missing {}", cells[2])
            } else {
                cells[0].to_owned()
            };
            (key, (cells[1].to_owned(), cells[4].to_owned()))
        })
        .collect()
}

fn same<V: PartialEq + std::fmt::Debug>(
    found: &BTreeMap<String, V>,
    expected: &BTreeMap<String, V>,
) {
    let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differences: Vec<_> = keys
        .into_iter()
        .filter(|key| found.get(*key) != expected.get(*key))
        .map(|key| {
            format!(
                "{key}: {:?}, the model says {:?}",
                found.get(key),
                expected.get(key)
            )
        })
        .collect();
    assert!(
        differences.is_empty(),
        "{} differences, such as\n{}",
        differences.len(),
        differences[..differences.len().min(8)].join("\n")
    );
}

// The tests ===========================================================================================================

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_kept_in_step_as_the_model_says() -> Result<()> {
    let world = World::new().await?;
    let tenant = world.tenant("plant").await?;
    let elsewhere = world.tenant("elsewhere").await?;
    let mut dice = Dice(0x5eed_1e55);
    let mut model = Model::default();

    // People who are there before: logins of another tenant with the same numbers, and logins that nobody confirmed.
    for number in 0..20 {
        let email = format!("person{number}@feed.example");
        let person = world.sandbox.new_person(&email).await?;
        world
            .database
            .execute(
                "insert into lms.memberships (tenant_id, user_id, employee_number) values ($1, $2, $3)",
                &[&elsewhere, &person.id, &format!("N{number:05}")],
            )
            .await?;
        if number < 5 {
            world
                .database
                .execute(
                    "update auth.users set email_confirmed_at = null where id = $1",
                    &[&person.id],
                )
                .await?;
            model.unconfirmed.insert(email);
        } else {
            model.names.insert(email, "/".into());
        }
    }
    let others = world.standings(elsewhere).await?;

    // Half of the people have a login already, which is quicker made here; a third of these have told their name.
    world
        .database
        .execute(
            "insert into auth.users (instance_id, id, aud, role, email, email_confirmed_at, created_at, updated_at, raw_user_meta_data)
             select '00000000-0000-0000-0000-000000000000', gen_random_uuid(), 'authenticated', 'authenticated',
               'person' || number || '@feed.example', now(), now(), now(),
               case when number % 3 = 0 then jsonb_build_object('first_name', 'Own', 'last_name', 'Name' || number) end
             from generate_series(20, 2499) as number",
            &[],
        )
        .await?;

    model.names.extend((20..2500).map(|number| {
        let own = if number % 3 == 0 {
            format!("Own/Name{number}")
        } else {
            "/".into()
        };
        (format!("person{number}@feed.example"), own)
    }));

    // The first night: 5,000 rows, one in 50 of them faulty.
    let mut people: Vec<Row> = (0..4900)
        .map(|number| newcomer(&mut dice, number))
        .collect();
    let mut first = people.clone();
    for fault in 0..100 {
        let mut row = newcomer(&mut dice, 10_000 + fault);
        match fault % (FAULTS + 4) {
            kind if kind < FAULTS => spoil(&mut row, kind),
            kind => damage(&mut row, kind - FAULTS),
        }
        // What is wrong with it must be the only thing that is.
        first.insert(4000 + dice.below(900), row);
    }
    let file = world.file("first.csv", &first, ';')?;

    // Interrupted while logins are made.
    let mut import = world
        .import("plant", &file, &[])
        .stdout(Stdio::null())
        .spawn()?;
    let begun = Instant::now();
    while world.count("select count(*) from auth.users").await? < 3000 {
        assert!(
            import.try_wait()?.is_none(),
            "the import ended without many logins"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "not many logins after five minutes"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    import.kill()?;
    import.wait()?;
    assert_eq!(
        world.count("select count(*) from lms.memberships").await?,
        20
    );

    let expected = model.apply(&first, 0);
    same(&world.imported("plant", &file, &[])?, &expected);
    same(&world.standings(tenant).await?, &model.standings());
    // The next night, nothing is new.
    let versions = world.versions().await?;
    let expected = model.apply(&first, 0);
    assert!(
        expected
            .values()
            .all(|(action, _)| ["unchanged", "failed"].contains(&action.as_str()))
    );
    same(&world.imported("plant", &file, &[])?, &expected);
    assert_eq!(
        world.versions().await?,
        versions,
        "a file that is applied again touches no row"
    );

    // By day: some leave, some are suspended by hand.
    let tenant_text = tenant.to_string();
    for (number, change) in (100..130)
        .map(|number| (number, "status = 'ended', ended_by = user_id"))
        .chain((130..140).map(|number| (number, "status = 'suspended'")))
    {
        let email = format!("person{number}@feed.example");
        world
            .database
            .execute(
                &format!(
                    "update lms.memberships m set {change} from auth.users u
                     where u.id = m.user_id and u.email = $1 and m.tenant_id = '{tenant_text}'"
                ),
                &[&email],
            )
            .await?;
        let member = model.members.get_mut(&email).context("a member")?;
        if change.starts_with("status = 'ended'") {
            end(member);
            member.left_by_choice = true;
        } else {
            member.status = "suspended";
        }
    }

    // The second night: changes of every kind, faults about people who are there, and 80 who have vanished.
    people.drain(300..380);
    for row in &mut people[1000..4000] {
        match dice.below(20) {
            0 | 1 => row.unit = dice.unit(),
            2 | 3 => row.title = TITLES[dice.below(TITLES.len())].into(),
            4 => row.status = "ended".into(),
            5 => row.status = ["suspended", "active"][dice.below(2)].into(),
            6 => (row.unit, row.role) = (dice.unit(), "unit_manager".into()),
            7 => (row.role, row.scope) = ("instructor".into(), "tenant".into()),
            8 => row.number = format!("R{}", row.number),
            9 => row.email = format!("other-{}", row.email.to_lowercase()),
            10 => (row.unit, row.role) = (dice.unit(), "learner".into()),
            11 => row.unit.clear(),
            // What people are called is theirs to say, once they have a login.
            12 => row.last_name = "Renamed".into(),
            _ => {}
        }
    }
    // Those who have not accepted yet: one is not to come any more, one is not listed, the others are offered something else.
    people[0].status = "ended".into();
    (people[1].unit, people[1].title) = ("U3".into(), "Driver".into());
    (people[2].role, people[2].scope) = ("instructor".into(), "tenant".into());
    (people[3].last_name, people[3].number) = ("Newly-Wed".into(), "N99903".into());
    people.remove(4);
    for number in 5000..5100 {
        people.push(newcomer(&mut dice, number));
    }
    let mut second = people.clone();
    for fault in 0..100 {
        spoil(&mut second[4100 + fault * 3], fault % FAULTS);
    }
    // Twice the same person, the second time faulty or not.
    second.push(second[20].clone());
    second.push(Row {
        number: second[21].number.clone(),
        status: "ended".into(),
        ..Row::default()
    });
    let file = world.file("second.csv", &second, ',')?;

    let versions = world.versions().await?;
    let refused = world
        .import("plant", &file, &["--end-limit", "5"])
        .output()?;
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(
        said(&refused).contains("too_many_missing"),
        "{}",
        said(&refused)
    );
    let dry = world.imported("plant", &file, &["--end-limit", "200", "--dry-run"])?;
    assert_eq!(
        world.versions().await?,
        versions,
        "neither a refusal nor a dry run touches a row"
    );

    let expected = model.apply(&second, 200);
    // A rehearsal makes no logins, so it does not learn whose address nobody has confirmed.
    let rehearsed = expected.iter().map(|(key, (action, code))| {
        let action = if action == "invited" {
            "created"
        } else {
            action
        };
        (key.clone(), (action.to_owned(), code.clone()))
    });
    same(&dry, &rehearsed.collect());
    same(
        &world.imported("plant", &file, &["--end-limit", "200"])?,
        &expected,
    );
    same(&world.standings(tenant).await?, &model.standings());
    for action in [
        "created",
        "updated",
        "moved",
        "ended",
        "unchanged",
        "failed",
    ] {
        assert!(
            expected.values().any(|(found, _)| found == action),
            "nobody was {action}"
        );
    }
    assert!(
        expected
            .keys()
            .filter(|key| key.starts_with("missing"))
            .count()
            > 70
    );

    // The third night: many come back, others vanish, and a row that cannot be read keeps everybody.
    people.drain(500..520);
    for row in &mut people {
        if row.status == "ended" && dice.below(2) == 0 {
            row.status = ["", "active", "suspended"][dice.below(3)].into();
            row.role = ["", "unit_manager"][dice.below(2)].into();
            row.scope = "unit".into();
        }
    }
    let mut third = people;
    for kind in 0..4 {
        let mut row = newcomer(&mut dice, 20_000 + kind);
        damage(&mut row, kind);
        third.push(row);
    }
    let file = world.file("third.csv", &third, '\t')?;
    let expected = model.apply(&third, 200);
    assert!(expected.values().any(|(action, _)| action == "restored"));
    assert!(expected.keys().all(|key| !key.starts_with("missing")));
    same(
        &world.imported("plant", &file, &["--end-limit", "200"])?,
        &expected,
    );
    same(&world.standings(tenant).await?, &model.standings());

    assert_eq!(
        world.standings(elsewhere).await?,
        others,
        "another tenant is as it was"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_anywhere_is_simply_repeated() -> Result<()> {
    let world = World::new().await?;
    let tenant = world.tenant("mill").await?;
    let mut dice = Dice(0xca11_ab1e);
    let mut model = Model::default();
    let mut rows: Vec<Row> = (0..300).map(|number| newcomer(&mut dice, number)).collect();
    for round in 0..3 {
        for row in &mut rows {
            if dice.below(3) == 0 {
                (row.unit, row.title) = (dice.unit(), TITLES[dice.below(TITLES.len())].into());
            }
        }
        rows.extend((0..60).map(|number| newcomer(&mut dice, 1000 * (round + 1) + number)));
        let file = world.file("feed.csv", &rows, ';')?;
        for delay in [30, 120, 250, 400, 600] {
            let mut import = world
                .import("mill", &file, &[])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            tokio::time::sleep(Duration::from_millis(delay)).await;
            import.kill()?;
            import.wait()?;
        }
        world.imported("mill", &file, &[])?;
        model.apply(&rows, 0);
        same(&world.standings(tenant).await?, &model.standings());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_none_change_nothing_and_tokens_are_kept_apart() -> Result<()> {
    let world = World::new().await?;
    world.tenant("mill").await?;
    let path = world.folder.join("odd.csv");
    for (bytes, why) in [
        (&b""[..], "is empty"),
        (b"email,unit\n", "no row of it can be read"),
        (
            b"email,phone\nann@feed.example,1\n",
            "columns that are not known: «phone». Known are employee_number, email",
        ),
        (
            b"email,unit\nann@feed.example,\"U1\n",
            "ends inside a quoted value",
        ),
        (b"PK\x03\x04\x14\0", "an Excel workbook"),
    ] {
        std::fs::write(&path, bytes)?;
        let refused = world.import("mill", &path, &[]).output()?;
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(
            said(&refused).contains(why),
            "«{why}» expected, but: {}",
            said(&refused)
        );
    }
    std::fs::write(
        &path,
        "email,first_name\nann@feed.example,Ann\n\nbob@feed.example,Bob\n",
    )?;
    for (command, why) in [
        (
            world.import("nowhere", &path, &[]).output()?,
            "there is no tenant nowhere",
        ),
        (
            world
                .import("mill", &path, &[])
                .env("SERVICE_ROLE_KEY", world.sandbox.address("ANON_KEY"))
                .output()?,
            "refuses the service role key",
        ),
        (
            world
                .import("mill", &path, &[])
                .env("SERVICE_ROLE_KEY", "wrong")
                .output()?,
            "refuses the service role key",
        ),
    ] {
        assert_eq!(command.status.code(), Some(2), "{}", said(&command));
        assert!(
            said(&command).contains(why),
            "«{why}» expected, but: {}",
            said(&command)
        );
    }
    assert_eq!(world.count("select count(*) from auth.users").await?, 0);
    assert_eq!(
        world.count("select count(*) from lms.invitations").await?,
        0
    );

    // One at a time: another import is waited for, and the API says so at once.
    let lock = "hashtextextended('lyceum import people ' || (select id from lms.tenants where slug = 'mill'), 0)";
    world
        .database
        .batch_execute(&format!("select pg_advisory_lock({lock})"))
        .await?;
    let tenant: Uuid = world
        .database
        .query_one("select id from lms.tenants where slug = 'mill'", &[])
        .await?
        .get(0);
    let turned_away = world
        .sandbox
        .service()
        .rpc(
            "import_people",
            &serde_json::json!({ "p_tenant_id": tenant, "p_rows": [] }),
        )
        .await?;
    assert_eq!(
        (turned_away.status.as_u16(), turned_away.code()),
        (409, "import_under_way")
    );
    let mut waiting = world
        .import("mill", &path, &["--dry-run"])
        .stdout(Stdio::null())
        .spawn()?;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(
        waiting.try_wait()?.is_none(),
        "the import did not wait for its turn"
    );
    world
        .database
        .batch_execute(&format!("select pg_advisory_unlock({lock})"))
        .await?;
    assert!(waiting.wait()?.success());

    // Invited: the tokens are beside the report, and open the invitations.
    let invited = world.imported("mill", &path, &["--invite"])?;
    assert_eq!(invited["2"].0, "invited");
    assert_eq!(invited["4"].0, "invited");
    assert_eq!(world.count("select count(*) from auth.users").await?, 0);
    let tokens = std::fs::read_to_string(world.folder.join("report.invitations.jsonl"))?;
    for line in tokens.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let preview = world
            .sandbox
            .anonymous()
            .rpc(
                "get_invitation",
                &serde_json::json!({ "p_token": line["token"] }),
            )
            .await?;
        assert_eq!(preview.body["email"], line["email"], "{preview:?}");
    }
    assert_eq!(tokens.lines().count(), 2);
    assert!(!std::fs::read_to_string(world.report())?.contains("token"));
    Ok(())
}
