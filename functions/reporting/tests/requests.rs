//! Requests and answers of the reporting function, against a mocked project.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../core/tests/support/mod.rs"]
mod support;

use std::io::Read;

use flate2::read::GzDecoder;
use http::HeaderMap;
use lambda_http::Body;
use lyceum_core::{http::Outgoing, respond};
use lyceum_reporting::Reporting;
use serde_json::{Value, json};
use support::*;
use wiremock::{
    Mock, Request, ResponseTemplate,
    matchers::{body_partial_json, header, path},
};

const ID: &str = "6f1c0b5e-8f3d-4f0a-9a57-2f0d1c9b7e11";
const HEADING: &str = "/rest/v1/rpc/describe_report";
const SUMMARY: &str = "/rest/v1/rpc/get_progress_summary";

fn heading() -> Value {
    json!([{
        "organization": "Works & <b>Sons</b>", "time_zone": "Europe/Berlin", "locale": "de", "today": "2026-03-02",
        "person": null, "unit": null, "course": null, "cohort": null, "courses": null,
    }])
}

fn row(number: usize) -> Value {
    json!({
        "course_id": ID, "title": format!("Course {number}"), "slug": format!("course-{number}"), "total_enrolled": 3,
        "average_progress": 66.67, "completed": 1, "completion_rate": 33.33, "cursor": format!("after-{number}"),
    })
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

async fn get(project: &Project, target: &str, headers: &[(&str, &str)]) -> Answer {
    ask(project, "GET", target, headers).await
}

async fn ask(project: &Project, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http::Request::builder()
        .method(method)
        .uri(format!("/functions/v1/reporting{target}"))
        .header("authorization", format!("Bearer {}", project.token()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response =
        respond::<Reporting>(&project.services, request.body(Body::Empty).unwrap()).await;
    let (head, body) = Outgoing::of(response).into_parts();
    let body = match body {
        Outgoing::Whole(bytes) => bytes.unwrap_or_default().to_vec(),
        Outgoing::File(mut file) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            bytes
        }
    };
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    }
}

async fn with_heading() -> Project {
    let project = Project::start().await;
    Mock::given(path(HEADING))
        .respond_with(ResponseTemplate::new(200).set_body_json(heading()))
        .mount(&project.server)
        .await;
    project
}

/// A report of so many rows, served by the page as the database does.
async fn with_rows(count: usize) -> Project {
    let project = with_heading().await;
    Mock::given(path(SUMMARY))
        .respond_with(move |request: &Request| {
            let asked: Value = serde_json::from_slice(&request.body).unwrap();
            let limit = usize::try_from(asked["p_limit"].as_u64().unwrap()).unwrap();
            let after = asked["p_after"].as_str().map_or(0, |after| {
                after["after-".len()..].parse::<usize>().unwrap() + 1
            });
            let rows: Vec<Value> = (after..count.min(after + limit)).map(row).collect();
            ResponseTemplate::new(200).set_body_json(rows)
        })
        .mount(&project.server)
        .await;
    project
}

fn summary(rest: &str) -> String {
    format!("/progress-summary?tenant_id={ID}{rest}")
}

#[tokio::test]
async fn the_database_is_asked_as_the_caller_with_what_was_asked_for() {
    let project = with_heading().await;
    Mock::given(path("/rest/v1/rpc/get_completion_rate"))
        .and(header("content-profile", "analytics"))
        .and(header("authorization", format!("Bearer {}", project.token())))
        .and(body_partial_json(json!({
            "p_tenant_id": ID, "p_unit_id": ID, "p_from": "2026-02-24", "p_until": "2026-03-02",
        })))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([{
            "total_enrolled": 4, "completed": 1, "in_progress": 2, "not_started": 1, "completion_rate": 25.00,
        }])))
        .expect(1)
        .mount(&project.server)
        .await;
    let answer = get(
        &project,
        &format!("/completion-rate?tenant_id={ID}&unit_id={ID}&last_days=7"),
        &[],
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said = answer.json();
    assert_eq!(said["title"], "Abschlussquote");
    assert_eq!(said["time_zone"], "Europe/Berlin");
    assert_eq!(said["parameters"]["from"], "2026-02-24");
    assert_eq!(said["rows"][0]["completion_rate"], 25.0);
    assert_eq!(said["row_count"], 1);
}

#[tokio::test]
async fn pages_follow_each_other_until_there_are_no_more() {
    for (count, calls) in [(0, 1), (999, 1), (1000, 2), (2500, 3)] {
        let project = with_rows(count).await;
        let answer = get(&project, &summary(""), &[]).await;
        let said = answer.json();
        assert_eq!(said["row_count"], count);
        let slugs: std::collections::BTreeSet<_> = said["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["slug"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(slugs.len(), count);
        assert_eq!(project.hits(SUMMARY).await, calls, "{count}");
        assert!(
            said["rows"]
                .as_array()
                .unwrap()
                .iter()
                .all(|row| row.get("cursor").is_none())
        );
    }
    let project = with_rows(2500).await;
    let answer = get(&project, &summary("&limit=1200"), &[]).await;
    assert_eq!(answer.json()["row_count"], 1200);
}

#[tokio::test]
async fn a_cursor_that_leads_nowhere_ends_the_report() {
    let project = with_heading().await;
    let page: Vec<Value> = (0..1000).map(|_| row(7)).collect();
    Mock::given(path(SUMMARY))
        .respond_with(ResponseTemplate::new(200).set_body_json(page))
        .mount(&project.server)
        .await;
    let answer = get(&project, &summary(""), &[]).await;
    assert_eq!(answer.json()["row_count"], 2000);
}

#[tokio::test]
async fn a_refusal_on_a_later_page_is_a_problem_and_no_half_report() {
    let project = with_heading().await;
    Mock::given(path(SUMMARY))
        .and(body_partial_json(json!({ "p_after": "after-999" })))
        .respond_with(ResponseTemplate::new(403).set_body_json(json!({
            "code": "report_not_allowed", "message": "You read no reports in this organisation.", "details": null, "hint": null,
        })))
        .with_priority(1)
        .mount(&project.server)
        .await;
    Mock::given(path(SUMMARY))
        .respond_with(
            ResponseTemplate::new(200).set_body_json((0..1000).map(row).collect::<Vec<_>>()),
        )
        .mount(&project.server)
        .await;
    for format in ["json", "csv", "xlsx", "html", "svg"] {
        let answer = get(&project, &summary(&format!("&format={format}")), &[]).await;
        assert_eq!(answer.status, 403, "{format}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["code"], "report_not_allowed");
    }
}

#[tokio::test]
async fn a_report_larger_than_memory_is_sent_from_a_file() {
    let project = with_rows(12_000).await;
    let plain = get(&project, &summary("&format=csv&locale=en"), &[]).await;
    assert!(plain.body.len() > 1024 * 1024 / 2);
    assert_eq!(plain.text().lines().count(), 12_001);
    let packed = get(
        &project,
        &summary("&format=csv&locale=en"),
        &[("accept-encoding", "gzip")],
    )
    .await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = String::new();
    GzDecoder::new(packed.body.as_slice())
        .read_to_string(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain.text());
    assert!(packed.body.len() * 4 < plain.body.len());
    // The same under either encoding, and nothing when it is known.
    assert_eq!(packed.header("etag"), plain.header("etag"));
    let known = get(
        &project,
        &summary("&format=csv&locale=en"),
        &[("if-none-match", plain.header("etag"))],
    )
    .await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let head = ask(&project, "HEAD", &summary("&format=csv&locale=en"), &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("etag"), plain.header("etag"));
}

#[tokio::test]
async fn tags_differ_where_answers_do() {
    let project = with_rows(3).await;
    let mut tags = std::collections::BTreeSet::new();
    for rest in [
        "",
        "&locale=en",
        "&format=csv",
        "&format=html",
        "&limit=2",
        "&from=2026-01-01",
    ] {
        tags.insert(
            get(&project, &summary(rest), &[])
                .await
                .header("etag")
                .to_owned(),
        );
    }
    assert_eq!(tags.len(), 6);
    let again = get(&project, &summary(""), &[]).await;
    assert!(tags.contains(again.header("etag")));
    assert_eq!(again.header("cache-control"), "private, no-cache");
    assert!(again.header("vary").contains("Authorization"));
}

#[tokio::test]
async fn a_page_holds_text_and_nothing_else() {
    let project = with_heading().await;
    let mut hostile = row(1);
    hostile["title"] = json!("</title><script>alert(1)</script>\u{202e}");
    Mock::given(path(SUMMARY))
        .respond_with(ResponseTemplate::new(200).set_body_json([hostile]))
        .mount(&project.server)
        .await;
    let answer = get(&project, &summary("&format=html"), &[]).await;
    let page = answer.text();
    assert!(
        page.contains("<p class=\"organization\">Works &amp; &lt;b&gt;Sons&lt;/b&gt;</p>"),
        "{page}"
    );
    assert!(
        page.contains("&lt;script&gt;alert(1)")
            && !page.contains("<script")
            && !page.contains('\u{202e}')
    );
    assert!(page.contains("33,3\u{a0}%"), "{page}");
    assert!(!page.contains(" style=") && !page.contains("http://") && !page.contains("https://"));
    let policy = answer.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe")
    );
    // The page says it itself, for when it is opened from a file.
    assert!(page.contains(
        "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-"
    ));
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_is_asked() {
    let project = with_rows(1).await;
    for (target, status, code) in [
        ("/nothing".to_owned(), 404, "report_not_found"),
        ("/progress-summary".to_owned(), 422, "validation_failed"),
        (summary("&colour=red"), 422, "validation_failed"),
        (format!("?tenant_id={ID}"), 422, "validation_failed"),
    ] {
        let answer = get(&project, &target, &[]).await;
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.json()["code"], code, "{target}");
    }
    assert_eq!(project.hits(HEADING).await, 0);
    let request = http::Request::builder()
        .uri(format!("/reporting{}", summary("")))
        .body(Body::Empty)
        .unwrap();
    assert_eq!(
        respond::<Reporting>(&project.services, request)
            .await
            .status(),
        401
    );
}

#[tokio::test]
async fn many_rows_make_a_page_of_some_and_a_note() {
    let project = with_rows(5_003).await;
    let page = get(&project, &summary("&format=html&locale=en"), &[])
        .await
        .text();
    assert_eq!(page.matches("<tr><th scope=\"row\">").count(), 5_000);
    assert!(page.contains("The first 5,000 of 5,003 rows."));
}

#[tokio::test]
async fn the_list_is_told_in_the_readers_language() {
    let project = Project::start().await;
    let answer = get(&project, "", &[("accept-language", "es")]).await;
    let said = answer.json();
    assert_eq!(said["locale"], "es");
    assert_eq!(said["reports"][0]["title"], "Tasa de finalización");
    assert_eq!(
        said["reports"][0]["function"],
        "analytics.get_completion_rate"
    );
    let document = get(&project, "/openapi.json", &[]).await.json();
    assert_eq!(document["paths"].as_object().unwrap().len(), 2);
}

#[tokio::test]
async fn training_records_are_printed_one_by_one_with_what_they_lack() {
    let project = with_heading().await;
    let record = |name: &str, missing: Value| {
        json!({
            "employee_name": name, "course_title": "Handling Hazardous Materials", "employer_name": "Works & Sons",
            "completed_on": "2026-02-01", "materials": "Slides of 2026, shelf 4 of the training room", "trainer_name": "Ines Lindqvist",
            "trainer_address": "1 Harbor Road, Harbor City", "tested_at": "2026-02-01T15:00:00+00:00", "test_percentage": 92.5,
            "certified_at": "2026-02-01T15:30:00+00:00", "certifier_name": "Ines Lindqvist",
            "certification_text": "I certify that this person has been trained and tested as 49 CFR part 172 requires.",
            "correction_reason": null, "kept_at_least_until": "2029-02-01", "kept_until": null, "missing": missing,
            "id": ID, "cursor": "1|x",
        })
    };
    Mock::given(path("/rest/v1/rpc/get_training_records"))
        .and(header("content-profile", "lms"))
        .respond_with(ResponseTemplate::new(200).set_body_json([
            record("Lena Fischer", json!([])),
            record("Noah <Adeyemi>", json!(["trainer_address"])),
        ]))
        .mount(&project.server)
        .await;
    let answer = get(
        &project,
        &format!("/training-records?tenant_id={ID}&format=html&locale=en"),
        &[],
    )
    .await;
    let page = answer.text();
    assert_eq!(
        page.matches("<article class=\"record\">").count(),
        2,
        "{page}"
    );
    assert!(
        page.contains("<h2>Noah &lt;Adeyemi&gt; <span>Handling Hazardous Materials</span></h2>")
    );
    // What lacks is told where something does.
    assert_eq!(
        page.matches("<dt>Missing</dt><dd>trainer address</dd>")
            .count(),
        1
    );
    assert!(page.contains("<dt>Completed on</dt><dd>1\u{a0}Feb\u{a0}2026</dd>"));
}
