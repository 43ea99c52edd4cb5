//! The outbox against receivers that go down, answer slowly, answer twice: nothing is lost, duplicates are recognisable.

#![allow(clippy::unwrap_used)]

mod receivers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lyceum_e2e::{Options, Person, Sandbox};
use receivers::{Call, Mail, Mood, Receiver, ids, mail_server, webhook_receiver};
use serde_json::{Value, json};
use uuid::Uuid;

/// Mails and events of each part of the test.
const MANY: usize = 12;

struct World {
    sandbox: Sandbox,
    database: tokio_postgres::Client,
    tenant: Uuid,
    boss: Person,
    people: Vec<Person>,
    mail: Receiver<Mail>,
    told: usize,
}

impl World {
    async fn new() -> Result<Self> {
        let mail = mail_server()?;
        let sandbox = Sandbox::start_with(
            Options {
                functions: true,
                ..Options::default()
            },
            &[
                ("OUTBOX_SMTP_URL", format!("smtp://127.0.0.1:{}", mail.port)),
                ("OUTBOX_MAIL_FROM", "learning@lyceum.example".to_owned()),
                ("OUTBOX_RECEIVER_SECONDS", "1".to_owned()),
                ("OUTBOX_RUN_SECONDS", "10".to_owned()),
            ],
        )?;
        let database = sandbox.database().await?;
        let tenant: Uuid = database
            .query_one(
                "insert into lms.tenants (slug, name, settings)
                 values ('works', 'Works', '{\"notifications\": {\"app_url\": \"https://learn.works.example\"}}') returning id",
                &[],
            )
            .await?
            .get(0);
        let mut people = Vec::new();
        for number in 0..=MANY {
            let person = sandbox
                .new_person(&format!("p{number}@works.example"))
                .await?;
            database
                .execute(
                    "with m as (insert into lms.memberships (tenant_id, user_id) values ($1, $2) returning id)
                     insert into lms.role_grants (tenant_id, membership_id, role_id)
                     select $1, m.id, r.id from m, lms.roles r where r.tenant_id = $1 and r.key = $3",
                    &[&tenant, &person.id, &if number == 0 { "tenant_admin" } else { "learner" }],
                )
                .await?;
            people.push(person);
        }
        let boss = people.remove(0);
        Ok(Self {
            sandbox,
            database,
            tenant,
            boss,
            people,
            mail,
            told: 0,
        })
    }

    /// Tells everybody something new.
    async fn tell(&mut self, kind: &str) -> Result<()> {
        self.told += 1;
        let ids: Vec<Uuid> = self.people.iter().map(|person| person.id).collect();
        self.database
            .execute(
                "select private.notify_all(array_agg(
                   ($1::uuid, p.id, $2::text, null, null, '{\"course\": \"Cranes\", \"reason\": \"<b>no</b>\"}', 'fact ' || $3::text)::private.notice
                 )) from unnest($4::uuid[]) as p (id)",
                &[&self.tenant, &kind, &self.told.to_string(), &ids],
            )
            .await?;
        Ok(())
    }

    async fn run(&self) -> Result<Value> {
        let answer = self
            .sandbox
            .service()
            .post("/functions/v1/outbox/run", &json!({}))
            .await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        Ok(answer.body)
    }

    /// As if all pauses were over.
    async fn wait_it_out(&self) -> Result<()> {
        self.database
            .batch_execute(
                "update private.outbox set next_attempt_at = now() where status = 'pending';
                 update private.webhook_states set paused_until = null;",
            )
            .await?;
        Ok(())
    }

    /// How many deliveries of a channel are in which state.
    async fn states(&self, channel: &str) -> Result<BTreeMap<String, i64>> {
        let rows = self
            .database
            .query(
                "select status, count(*) from private.outbox where channel = $1 group by 1",
                &[&channel],
            )
            .await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    async fn start_over(&self) -> Result<()> {
        self.mail.be(Mood::Well);
        self.mail.forget();
        self.database
            .batch_execute("delete from private.outbox; delete from lms.webhooks;")
            .await?;
        Ok(())
    }

    async fn webhook(&self, receiver: &Receiver<Call>) -> Result<(Uuid, String)> {
        let answer = self
            .boss
            .rpc(
                "create_webhook",
                &json!({ "p_tenant_id": self.tenant, "p_url": format!("http://127.0.0.1:{}/hook", receiver.port) }),
            )
            .await?;
        let secret = answer.body["secret"]
            .as_str()
            .with_context(|| format!("{answer:?}"))?;
        Ok((
            answer.body["webhook_id"]
                .as_str()
                .context("an id")?
                .parse()?,
            secret.to_owned(),
        ))
    }
}

fn message_ids(mails: &[Mail]) -> BTreeSet<String> {
    mails.iter().map(|mail| mail.header("Message-ID")).collect()
}

fn count(states: &BTreeMap<String, i64>, state: &str) -> usize {
    usize::try_from(states.get(state).copied().unwrap_or_default()).unwrap_or_default()
}

#[tokio::test]
async fn nothing_is_lost_and_duplicates_are_recognisable() -> Result<()> {
    let mut world = World::new().await?;
    only_the_system_runs_it(&world).await?;
    mails_survive_their_server(&mut world).await?;
    refused_mails_are_dead_and_come_back(&mut world).await?;
    webhooks_survive_their_receivers(&mut world).await?;
    a_slow_receiver_stops_no_other(&mut world).await?;
    redirects_and_pauses_are_respected(&mut world).await?;
    a_run_that_died_is_made_up_for(&mut world).await?;
    two_runs_share_the_work(&mut world).await?;
    a_webhook_that_goes_takes_nothing_along(&mut world).await?;
    nobody_is_mailed_who_has_gone(&mut world).await
}

async fn only_the_system_runs_it(world: &World) -> Result<()> {
    let path = "/functions/v1/outbox/run";
    let by_boss = world.boss.post(path, &json!({})).await?;
    assert_eq!(
        (by_boss.status.as_u16(), by_boss.code()),
        (403, "service_required")
    );
    let by_anybody = world.sandbox.anonymous().post(path, &json!({})).await?;
    assert_eq!(by_anybody.status, 401);
    for function in ["claim_deliveries", "settle_delivery"] {
        let call = world
            .boss
            .rpc(function, &json!({ "p_channel": "email" }))
            .await?;
        assert!([403, 404].contains(&call.status.as_u16()), "{call:?}");
    }
    Ok(())
}

async fn mails_survive_their_server(world: &mut World) -> Result<()> {
    world.tell("training_due").await?;
    world.mail.be(Mood::Down);
    let summary = world.run().await?;
    assert_eq!(summary["email"]["delivered"], 0);
    // Those that were not even tried have not used up an attempt.
    let tried: i64 = world
        .database
        .query_one("select sum(attempts) from private.outbox", &[])
        .await?
        .get(0);
    assert!(
        (1..=4).contains(&tried),
        "{tried} attempts at a server that is down"
    );

    // Taken, and nobody knows: the answer comes too late, or not at all.
    for mood in [Mood::Slow, Mood::Forgetful] {
        world.wait_it_out().await?;
        world.mail.be(mood.clone());
        world.run().await?;
        assert!(!world.mail.taken().is_empty(), "{mood:?}");
        assert_eq!(
            count(&world.states("email").await?, "delivered"),
            0,
            "{mood:?}"
        );
    }
    world.mail.be(Mood::Refusing(451));
    world.wait_it_out().await?;
    world.run().await?;
    assert_eq!(count(&world.states("email").await?, "pending"), MANY);

    world.mail.be(Mood::Well);
    world.wait_it_out().await?;
    assert_eq!(world.run().await?["email"]["delivered"], MANY);
    let mails = world.mail.taken();
    assert!(mails.len() > MANY, "some came twice");
    // As many messages as people, however often they came, and each to one.
    assert_eq!(message_ids(&mails).len(), MANY);
    let pairs: BTreeSet<(String, String)> = mails
        .iter()
        .map(|mail| (mail.header("Message-ID"), mail.recipients.join(",")))
        .collect();
    assert_eq!(pairs.len(), MANY);
    assert!(mails[0].text.contains("https://learn.works.example"));
    assert_eq!(mails[0].header("Subject"), "Due soon: Cranes");
    // And nothing more.
    world.wait_it_out().await?;
    world.run().await?;
    assert_eq!(world.mail.taken().len(), mails.len());
    world.start_over().await
}

async fn refused_mails_are_dead_and_come_back(world: &mut World) -> Result<()> {
    world.tell("evidence_decided").await?;
    world.mail.be(Mood::Refusing(550));
    assert_eq!(world.run().await?["email"]["rejected"], MANY);
    let failures = world
        .boss
        .rpc(
            "get_delivery_failures",
            &json!({ "p_tenant_id": world.tenant }),
        )
        .await?;
    assert_eq!(failures.rows().len(), MANY);
    assert_eq!(failures.rows()[0]["status"], "dead");
    assert!(
        !failures.body.to_string().contains("works.example"),
        "no addresses"
    );
    let ids: Vec<&Value> = failures.rows().iter().map(|row| &row["id"]).collect();
    let learner = &world.people[0];
    let replay = json!({ "p_ids": ids });
    assert_eq!(learner.rpc("replay_deliveries", &replay).await?.body, 0);
    assert_eq!(
        learner
            .rpc(
                "get_delivery_failures",
                &json!({ "p_tenant_id": world.tenant })
            )
            .await?
            .status,
        403
    );
    world.mail.be(Mood::Well);
    assert_eq!(
        world.boss.rpc("replay_deliveries", &replay).await?.body,
        MANY
    );
    assert_eq!(world.boss.rpc("replay_deliveries", &replay).await?.body, 0);
    assert_eq!(world.run().await?["email"]["delivered"], MANY);
    let html = world.mail.taken()[0].text.replace("=\r\n", "");
    assert!(html.contains("&lt;b&gt;no&lt;/b&gt;"), "{html}");
    world.start_over().await
}

async fn webhooks_survive_their_receivers(world: &mut World) -> Result<()> {
    let receiver = webhook_receiver()?;
    let (id, secret) = world.webhook(&receiver).await?;
    world.tell("grading_waits").await?;
    for mood in [Mood::Down, Mood::Slow, Mood::Forgetful, Mood::Forgetful] {
        receiver.be(mood);
        let summary = world.run().await?;
        assert_eq!(summary["webhook"]["delivered"], 0);
        world.wait_it_out().await?;
    }
    let duplicates = receiver.taken().len();
    assert!(duplicates > 0);
    // Five failures in a row: after a pause one is tried, not all.
    receiver.be(Mood::Refusing(503));
    world.run().await?;
    let paused: bool = world
        .database
        .query_one(
            "select paused_until > now() from private.webhook_states where webhook_id = $1",
            &[&id],
        )
        .await?
        .get(0);
    assert!(paused);
    assert_eq!(
        world.run().await?["webhook"],
        json!({ "delivered": 0, "failed": 0, "rejected": 0, "deferred": 0 })
    );

    receiver.be(Mood::Well);
    world.wait_it_out().await?;
    world.run().await?;
    world.wait_it_out().await?;
    world.run().await?;
    assert_eq!(count(&world.states("webhook").await?, "delivered"), MANY);
    let calls = receiver.taken();
    assert_eq!(calls.len(), MANY + duplicates);
    assert_eq!(ids(&calls).len(), MANY, "what came twice has the same id");
    for call in &calls {
        assert!(call.is_signed_with(&secret));
        let body: Value = serde_json::from_str(&call.body)?;
        assert_eq!(body["type"], "grading_waits");
        assert_eq!(body["data"]["tenant_id"], world.tenant.to_string());
        assert!(
            !call.body.contains("reason") && !call.body.contains("@"),
            "{}",
            call.body
        );
    }
    let rotated = world
        .boss
        .rpc("rotate_webhook_secret", &json!({ "p_webhook_id": id }))
        .await?;
    let newer = rotated.body["secret"].as_str().context("a secret")?;
    receiver.forget();
    world.tell("grading_waits").await?;
    world.run().await?;
    let calls = receiver.taken();
    assert_eq!(calls.len(), MANY);
    assert!(calls[0].is_signed_with(&secret) && calls[0].is_signed_with(newer));
    world.start_over().await
}

async fn a_slow_receiver_stops_no_other(world: &mut World) -> Result<()> {
    let (slow, quick) = (webhook_receiver()?, webhook_receiver()?);
    world.webhook(&slow).await?;
    world.webhook(&quick).await?;
    slow.be(Mood::Slow);
    world.tell("grading_waits").await?;
    let started = Instant::now();
    let summary = world.run().await?;
    assert_eq!(summary["webhook"]["delivered"], MANY, "{summary}");
    assert_eq!(quick.taken().len(), MANY);
    assert_eq!(slow.taken().len(), 1, "the rest waits until it is well");
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
    world.start_over().await
}

async fn redirects_and_pauses_are_respected(world: &mut World) -> Result<()> {
    let (receiver, elsewhere) = (webhook_receiver()?, webhook_receiver()?);
    world.webhook(&receiver).await?;
    receiver.be(Mood::Redirecting(format!(
        "http://127.0.0.1:{}/",
        elsewhere.port
    )));
    world.tell("grading_waits").await?;
    world.run().await?;
    assert_eq!(elsewhere.taken().len(), 0);
    receiver.be(Mood::Refusing(429));
    world.wait_it_out().await?;
    world.run().await?;
    let pause: f64 = world
        .database
        .query_one(
            "select extract(epoch from max(next_attempt_at) - now())::float8 from private.outbox
             where last_error = 'http 429'",
            &[],
        )
        .await?
        .get(0);
    assert!(
        pause >= 100.0,
        "the receiver asked for two minutes: {pause}"
    );
    receiver.be(Mood::Refusing(410));
    world.wait_it_out().await?;
    assert!(world.run().await?["webhook"]["rejected"].as_u64() >= Some(1));
    world.start_over().await
}

async fn a_run_that_died_is_made_up_for(world: &mut World) -> Result<()> {
    world.tell("training_overdue").await?;
    let claim = json!({ "p_channel": "email", "p_limit": 500, "p_lease_seconds": 900 });
    let service = world.sandbox.service();
    let claimed = service.rpc("claim_deliveries", &claim).await?;
    assert_eq!(claimed.rows().len(), MANY);
    // It has sent them, and is gone. Meanwhile nobody else sends them ...
    assert_eq!(world.run().await?["email"]["delivered"], 0);
    assert_eq!(world.mail.taken().len(), 0);
    world
        .database
        .execute("update private.outbox set leased_until = now()", &[])
        .await?;
    // ... and then somebody does, under the same ids.
    assert_eq!(world.run().await?["email"]["delivered"], MANY);
    let first: BTreeSet<String> = claimed
        .rows()
        .iter()
        .map(|row| {
            format!(
                "<{}@lyceum.example>",
                row["id"].as_str().unwrap_or_default()
            )
        })
        .collect();
    assert_eq!(message_ids(&world.mail.taken()), first);
    // What the dead run says when it comes back after all counts for nothing.
    let late = service
        .rpc(
            "settle_delivery",
            &json!({ "p_id": claimed.rows()[0]["id"], "p_lease": claimed.rows()[0]["lease"], "p_outcome": "rejected" }),
        )
        .await?;
    assert_eq!(late.body, false);
    assert_eq!(count(&world.states("email").await?, "delivered"), MANY);
    world.start_over().await
}

async fn two_runs_share_the_work(world: &mut World) -> Result<()> {
    let receiver = webhook_receiver()?;
    world.webhook(&receiver).await?;
    for _ in 0..4 {
        world.tell("training_due").await?;
    }
    let runs = futures_util::future::join_all((0..4).map(|_| world.run())).await;
    for run in runs {
        run?;
    }
    world.run().await?;
    let (mails, calls) = (world.mail.taken(), receiver.taken());
    assert_eq!(
        (mails.len(), message_ids(&mails).len()),
        (4 * MANY, 4 * MANY)
    );
    assert_eq!((calls.len(), ids(&calls).len()), (4 * MANY, 4 * MANY));
    world.start_over().await
}

/// INV-P3: nobody waits for a webhook that is being deleted, nor misses a notification by it.
async fn a_webhook_that_goes_takes_nothing_along(world: &mut World) -> Result<()> {
    let receiver = webhook_receiver()?;
    world.webhook(&receiver).await?;
    let other = world.sandbox.database().await?;
    other
        .batch_execute("begin; delete from lms.webhooks;")
        .await?;
    tokio::time::timeout(Duration::from_secs(10), world.tell("training_due")).await??;
    other.batch_execute("commit").await?;
    assert_eq!(count(&world.states("email").await?, "pending"), MANY);
    assert!(world.states("webhook").await?.is_empty());
    world.start_over().await
}

async fn nobody_is_mailed_who_has_gone(world: &mut World) -> Result<()> {
    world.tell("training_due").await?;
    world
        .database
        .execute(
            "update lms.memberships set status = case when user_id = $1 then 'suspended' else 'ended' end
             where user_id in ($1, $2)",
            &[&world.people[0].id, &world.people[1].id],
        )
        .await?;
    assert_eq!(world.run().await?["email"]["delivered"], MANY - 2);
    assert_eq!(count(&world.states("email").await?, "discarded"), 2);
    world.tell("training_due").await?;
    assert_eq!(world.run().await?["email"]["delivered"], MANY - 2);
    assert!(!world.mail.taken().iter().any(|mail| {
        let to = mail.header("To");
        to == "p1@works.example" || to == "p2@works.example"
    }));
    Ok(())
}
