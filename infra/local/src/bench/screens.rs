//! The hot screens over HTTP: as `authenticated` under row level security, and as a role that bypasses it, with the
//! equivalent filter. And the dashboard against the calls it replaces, and the gateway against PostgREST.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;
use tokio_postgres::Client;

use super::database::Personas;
use super::http::{Call, Connection};
use super::place::{BYPASSING_ROLE, Place};
use super::report::{Bar, Report, Row};
use super::sample::{Rounds, quantile};
use super::{Effort, say};

/// Requests of each side before anything is measured: connections learn plans and fill caches.
const WARM_UP: usize = 20;

/// One screen, both ways.
struct Screen {
    name: &'static str,
    ours: Call,
    reference: Call,
}

pub(super) async fn measure(
    place: &Place,
    personas: &Personas,
    effort: Effort,
    report: &mut Report,
) -> Result<()> {
    let admin = place.admin().await?;
    let mut connection = Connection::open(place.ports.rest).await?;
    for screen in screens(place, personas)? {
        say(&format!("screen: {}", screen.name));
        compare(&mut connection, &admin, &screen, effort, report).await?;
    }
    say("dashboard");
    dashboard(place, &mut connection, personas, effort, report).await?;
    say("gateway");
    through_gateway(place, &mut connection, personas, effort, report).await
}

fn screens(place: &Place, personas: &Personas) -> Result<Vec<Screen>> {
    let same = |name, who: &str, path: String| -> Result<Screen> {
        let user = personas.id(who)?;
        Ok(Screen {
            name,
            ours: Call::get(path.clone(), &place.token(user, "authenticated")?),
            reference: Call::get(path, &place.token(user, BYPASSING_ROLE)?),
        })
    };
    let tenant = personas.id("tenant")?;
    let learner = personas.id("learner")?;
    let course = personas.id("learner_course")?;
    let enrollment = personas.id("learner_enrollment")?;
    let unit = personas.id("unit")?;
    let taught = personas.id("instructor_course")?;
    let card = "id,slug,title,description,thumbnail_url,difficulty,language,estimated_minutes,price,currency";
    let line = "id,course_id,user_id,status,progress_percentage,enrolled_at,due_at";
    let person = "id,user_id,unit_id,job_title,employee_number,status,people(display_name)";
    let latest = "order=enrolled_at.desc,id.desc";
    let catalogue = format!(
        "courses?select={card}&tenant_id=eq.{tenant}&status=eq.published&order=created_at.desc,id.desc&limit=24"
    );
    Ok(vec![
        same(
            "own enrolments",
            "learner",
            format!("enrollments?select={line}&user_id=eq.{learner}&{latest}"),
        )?,
        same(
            "outline of a course with own progress (embedded)",
            "learner",
            format!(
                "courses?select=id,title,modules(id,title,order_index,lessons(id,title,type,duration,order_index,\
                 lesson_progress(status,progress_percentage)))&id=eq.{course}&modules.order=order_index\
                 &modules.deleted_at=is.null&modules.lessons.deleted_at=is.null&modules.lessons.is_published=is.true\
                 &modules.lessons.order=order_index&modules.lessons.lesson_progress.user_id=eq.{learner}"
            ),
        )?,
        outline_call(place, personas)?,
        same(
            "own progress in a course",
            "learner",
            format!(
                "lesson_progress?select=lesson_id,status,progress_percentage,completed_at\
                 &user_id=eq.{learner}&enrollment_id=eq.{enrollment}"
            ),
        )?,
        Screen {
            name: "catalogue, 24 cards",
            ours: Call::get(catalogue.clone(), &place.token(learner, "authenticated")?),
            reference: Call::get(
                format!("{catalogue}&deleted_at=is.null&visibility=in.(public,restricted)"),
                &place.token(learner, BYPASSING_ROLE)?,
            ),
        },
        same(
            "HR: 50 enrolments of the tenant",
            "hr_admin",
            format!("enrollments?select={line}&tenant_id=eq.{tenant}&{latest}&limit=50"),
        )?,
        same(
            "HR: 50 enrolments with names and titles",
            "hr_admin",
            format!(
                "enrollments?select={line},people(display_name),courses(title)&tenant_id=eq.{tenant}&{latest}&limit=50"
            ),
        )?,
        same(
            "manager: 50 enrolments of a unit",
            "unit_manager",
            format!("enrollments?select={line}&unit_id=eq.{unit}&{latest}&limit=50"),
        )?,
        same(
            "gradebook, 50 learners with their lessons",
            "instructor",
            format!(
                "enrollments?select=id,user_id,status,progress_percentage,\
                 lesson_progress(lesson_id,status,progress_percentage)&course_id=eq.{taught}&{latest}&limit=50"
            ),
        )?,
        dashboard_call(place, personas)?,
        same(
            "HR: 50 people with names",
            "hr_admin",
            format!(
                "memberships?select={person}&tenant_id=eq.{tenant}&order=employee_number&limit=50"
            ),
        )?,
        same(
            "manager: 50 people of a unit with names",
            "unit_manager",
            format!("memberships?select={person}&unit_id=eq.{unit}&order=employee_number&limit=50"),
        )?,
        same(
            "manager: 50 enrolments with names and titles",
            "unit_manager",
            format!(
                "enrollments?select={line},people(display_name),courses(title)&unit_id=eq.{unit}&{latest}&limit=50"
            ),
        )?,
        same(
            "instructor: 50 learners of a course with names",
            "instructor",
            format!(
                "enrollments?select={line},people(display_name)&course_id=eq.{taught}&{latest}&limit=50"
            ),
        )?,
        same(
            "instructor: a course with all its lessons",
            "instructor",
            format!(
                "courses?select=id,title,modules(id,title,order_index,lessons(id,title,type,is_published,order_index))\
                 &id=eq.{taught}&modules.order=order_index&modules.deleted_at=is.null&modules.lessons.deleted_at=is.null\
                 &modules.lessons.order=order_index"
            ),
        )?,
    ])
}

/// The function reads the caller's own rows, so it needs no other filter: the bypassing role calls it as well.
fn outline_call(place: &Place, personas: &Personas) -> Result<Screen> {
    let learner = personas.id("learner")?;
    let arguments = json!({ "p_course_id": personas.id("learner_course")? });
    Ok(Screen {
        name: "get_course_outline",
        ours: Call::rpc(
            "get_course_outline",
            &arguments,
            &place.token(learner, "authenticated")?,
        ),
        reference: Call::rpc(
            "get_course_outline",
            &arguments,
            &place.token(learner, BYPASSING_ROLE)?,
        ),
    })
}

fn dashboard_call(place: &Place, personas: &Personas) -> Result<Screen> {
    let learner = personas.id("learner")?;
    Ok(Screen {
        name: "get_dashboard",
        ours: Call::rpc(
            "get_dashboard",
            &json!({}),
            &place.token(learner, "authenticated")?,
        ),
        reference: Call::rpc(
            "get_dashboard",
            &json!({}),
            &place.token(learner, BYPASSING_ROLE)?,
        ),
    })
}

/// Alternates the two sides; what PostgreSQL itself spent on each is read from `pg_stat_statements` by role.
async fn compare(
    connection: &mut Connection,
    admin: &Client,
    screen: &Screen,
    effort: Effort,
    report: &mut Report,
) -> Result<()> {
    for _ in 0..WARM_UP {
        connection.send(&screen.ours).await?;
        connection.send(&screen.reference).await?;
    }
    let mut over_http = Rounds::default();
    let mut inside = Rounds::default();
    for _ in 0..effort.rounds {
        admin
            .execute("select extensions.pg_stat_statements_reset()", &[])
            .await?;
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for turn in 0..effort.repeats {
            // Whoever comes second finds caches warmed by the first, so they take turns in that too.
            if turn % 2 == 0 {
                ours.push(connection.send(&screen.ours).await?.0);
                reference.push(connection.send(&screen.reference).await?.0);
            } else {
                reference.push(connection.send(&screen.reference).await?.0);
                ours.push(connection.send(&screen.ours).await?.0);
            }
        }
        over_http.add(&ours, &reference);
        let spent = spent_inside(admin).await?;
        let of = |role: &str| spent.get(role).copied().unwrap_or_default();
        inside.add(&[of("authenticated")], &[of(BYPASSING_ROLE)]);
    }
    report.add(Row::ratio(
        "RLS over HTTP",
        screen.name,
        "ms",
        &over_http,
        Bar::AtMost(1.15),
    ));
    report.add(Row::difference(
        "RLS inside PostgreSQL",
        screen.name,
        "ms",
        &inside,
        Bar::AtMost(0.1),
    ));
    Ok(())
}

/// Mean milliseconds of planning and executing a request's main statement, by role.
async fn spent_inside(admin: &Client) -> Result<BTreeMap<String, f64>> {
    let rows = admin
        .query(
            "select s.userid::regrole::text, sum(s.total_plan_time + s.total_exec_time) / max(s.calls)
             from extensions.pg_stat_statements s
             where s.toplevel and s.query like '%pgrst_source%'
             group by s.userid",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn dashboard(
    place: &Place,
    connection: &mut Connection,
    personas: &Personas,
    effort: Effort,
    report: &mut Report,
) -> Result<()> {
    let learner = personas.id("learner")?;
    let token = place.token(learner, "authenticated")?;
    let whole = Call::rpc("get_dashboard", &json!({}), &token);
    let open = "status=in.(enrolled,in_progress,paused)";
    // What a client without the call would ask, one number and one list at a time, as the seeds' clients do.
    let parts: Vec<Call> = [
        format!(
            "enrollments?select=id,course_id,status,progress_percentage,items_done,items_total,current_lesson_id,due_at,\
             last_accessed_at,courses(title,thumbnail_url)&user_id=eq.{learner}&{open}\
             &order=last_accessed_at.desc.nullslast&limit=10"
        ),
        format!("enrollments?select=id&user_id=eq.{learner}&status=eq.completed"),
        format!("enrollments?select=items_done,time_spent_seconds,progress_percentage,status&user_id=eq.{learner}"),
        format!(
            "lesson_progress?select=course_id,lesson_id,completed_at,lessons(title)&user_id=eq.{learner}\
             &completed_at=not.is.null&order=completed_at.desc&limit=10"
        ),
        format!(
            "enrollments?select=id,course_id,due_at,progress_percentage,courses(title)&user_id=eq.{learner}&{open}\
             &due_at=not.is.null&order=due_at&limit=10"
        ),
    ]
    .map(|path| Call::get(path, &token))
    .to_vec();
    for _ in 0..WARM_UP {
        connection.send(&whole).await?;
        connection.send_all(&parts).await?;
    }
    let mut rounds = Rounds::default();
    for _ in 0..effort.rounds {
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for _ in 0..effort.repeats {
            ours.push(connection.send(&whole).await?.0);
            reference.push(connection.send_all(&parts).await?);
        }
        rounds.add(&ours, &reference);
    }
    report.add(Row::ratio(
        "Dashboard",
        "one call against the five it replaces",
        "ms",
        &rounds,
        Bar::AtMost(0.25),
    ));
    Ok(())
}

async fn through_gateway(
    place: &Place,
    direct: &mut Connection,
    personas: &Personas,
    effort: Effort,
    report: &mut Report,
) -> Result<()> {
    let learner = personas.id("learner")?;
    let straight = Call::get(
        format!("enrollments?select=id,status,progress_percentage&user_id=eq.{learner}"),
        &place.token(learner, "authenticated")?,
    );
    let through = straight.through("rest/v1/", "apikey", place.anon_key());
    let mut gateway = Connection::open(place.ports.gateway).await?;
    for _ in 0..WARM_UP {
        gateway.send(&through).await?;
        direct.send(&straight).await?;
    }
    let (mut typical, mut slow) = (Rounds::default(), Rounds::default());
    for _ in 0..effort.rounds {
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for _ in 0..effort.repeats * 3 {
            ours.push(gateway.send(&through).await?.0);
            reference.push(direct.send(&straight).await?.0);
        }
        typical.add(&ours, &reference);
        slow.add(&[quantile(&ours, 0.99)], &[quantile(&reference, 0.99)]);
    }
    let group = if cfg!(debug_assertions) {
        "Gateway (debug build)"
    } else {
        "Gateway"
    };
    report.add(Row::difference(
        group,
        "added to the median",
        "ms",
        &typical,
        Bar::AtMost(1.0),
    ));
    report.add(Row::difference(
        group,
        "added to the 99th percentile",
        "ms",
        &slow,
        Bar::AtMost(5.0),
    ));
    Ok(())
}
