//! `POST /enrollment/bulk`.
//!
//! The list goes to the database in parts, each of which is a transaction and is answered the same when it arrives again. So
//! whoever loses the answer half-way sends the list again.

mod answer;
mod list;
mod table;
mod text;

use http::StatusCode;
use lyceum_core::{
    Error, Exchange, Repeat, Response,
    error::Rule,
    http::{Fields, json},
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use answer::{Answer, Outcome};
use list::{IsList, List};
use table::{Record, Table, TableFault};
use text::TextFault;

/// Lambda takes 6 MB.
const BODY_LIMIT: usize = 5 * 1024 * 1024;
const MOST_ROWS: usize = 10_000;
/// A part takes a fraction of the time that one call may take.
const ROWS_PER_CALL: usize = 1_000;
/// The database's keys have 255 characters, of which the number of the part takes some.
const LONGEST_KEY: usize = 240;

/// The arguments of `lms.enroll_in_bulk`.
#[derive(Debug, Serialize)]
struct Arguments<'a> {
    p_tenant_id: Uuid,
    p_rows: &'a RawValue,
    p_dry_run: bool,
    p_invite: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    p_batch_key: Option<String>,
}

/// What is to be done with the rows.
#[derive(Debug)]
struct Options {
    tenant_id: Uuid,
    dry_run: bool,
    invite: bool,
    /// The client's, or one for this request, so that a part that is sent twice is answered once.
    key: String,
}

/// A row on its way: as the database takes it, or refused already.
enum Row {
    Sent(String),
    Refused(Outcome<'static>),
}

/// Enrols many people at once and tells for every row what became of it.
///
/// As JSON, or as a CSV file (`text/csv`; `application/octet-stream` for one that is not UTF-8, so that nothing on the way
/// takes it for text): with commas, semicolons or tabs, quoted, in UTF-8, UTF-16 or Windows-1252. The first line names the columns
/// `user_id`, `email` or `employee_number`; `course` (id or slug); `due_at`, `expires_at`, `unit_code`. Rows of a CSV file are
/// numbered by the line on which they begin, those of JSON from 1. Each row stands for itself: one that is refused does not
/// touch the others. Who is enrolled already stays so, so a list whose answer was lost can be sent again; under the
/// same `Idempotency-Key` it is answered as the first time.
#[utoipa::path(
    post,
    path = "/enrollment/bulk",
    tag = "enrollment",
    params(
        ("tenant_id" = Option<Uuid>, Query, description = "The organisation; for CSV, required there"),
        ("dry_run" = Option<bool>, Query, description = "For CSV: tell, and change nothing"),
        ("invite" = Option<bool>, Query, description = "For CSV: invite addresses that are unknown"),
        ("ignore_columns" = Option<bool>, Query, description = "For CSV: leave out columns that are unknown"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 240 printable ASCII characters; the same list under the same key is answered as the first time"),
    ),
    request_body(content((crate::schema::BulkRequest = "application/json"), (String = "text/csv"), (String = "application/octet-stream"))),
    responses(
        (status = 200, description = "What became of every row", body = crate::schema::BulkAnswer),
        (status = 400, description = "The body is no JSON object (`malformed_body`) or no CSV file (`malformed_file`, with the line)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 401, description = "Not signed in, or the token is not acceptable", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not allowed to enrol anybody", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such organisation (`tenant_not_found`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 5 MiB, or more than 10,000 rows (`too_many_rows`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 415, description = "Neither JSON nor CSV, or in an unknown encoding", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields or columns at fault, or the key was used for something else (`idempotency_key_reused`)", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database cannot be reached; send the list again", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
        (status = 504, description = "The database did not answer in time; send the list again", body = lyceum_core::error::Problem, content_type = "application/problem+json"),
    ),
    security(("access_token" = []))
)]
pub(crate) async fn bulk(exchange: &Exchange<'_>) -> Result<Response, Error> {
    let caller = exchange.caller().await?;
    let body = exchange.bytes(BODY_LIMIT)?;
    let database = exchange.database(&caller);
    let answer = match exchange
        .media_type()
        .as_ref()
        .map(|(kind, charset)| (kind.as_str(), charset))
    {
        Some(("application/json", charset))
            if charset
                .as_deref()
                .is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8")) =>
        {
            let List { options, rows } = List::read(body, MOST_ROWS)?;
            let options = options_of_json(options, exchange)?;
            if rows.len() > MOST_ROWS {
                return Err(too_many_rows());
            }
            let rows =
                rows.iter()
                    .enumerate()
                    .map(|(index, row)| match list::numbered(row, index + 1) {
                        Ok(text) => Row::Sent(text),
                        Err((code, message)) => {
                            Row::Refused(Outcome::refused(number(index + 1), code, message))
                        }
                    });
            enroll(&database, &options, rows).await?
        }
        Some(("text/csv" | "application/octet-stream", charset)) => {
            let (options, ignore_columns) = options_of_query(exchange.query(), exchange)?;
            let text = text::decode(body, charset.as_deref()).map_err(no_text)?;
            let table = Table::open(&text, ignore_columns, MOST_ROWS).map_err(no_table)?;
            let rows = table.rows().map(|record| match record {
                Record::Row(row) => match serde_json::to_string(&row) {
                    Ok(text) => Row::Sent(text),
                    // Texts and a number always serialise.
                    Err(_) => Row::Refused(Outcome::refused(row.row, "invalid_text", "")),
                },
                Record::Faulty { row, code, message } => {
                    Row::Refused(Outcome::refused(row, code, message))
                }
            });
            enroll(&database, &options, rows).await?
        }
        _ => return Err(unsupported()),
    };
    Ok(json(StatusCode::OK, answer.finish()))
}

async fn enroll(
    database: &lyceum_core::CallerDatabase<'_>,
    options: &Options,
    mut rows: impl Iterator<Item = Row> + Send,
) -> Result<Answer, Error> {
    // What a dry run would do depends on all rows before: seats are given in their order.
    let rows_per_call = if options.dry_run {
        MOST_ROWS
    } else {
        ROWS_PER_CALL
    };
    let mut answer = Answer::default();
    let mut part = 0_usize;
    loop {
        let mut sent = String::from("[");
        let mut places = Vec::new();
        for row in rows.by_ref().take(rows_per_call) {
            match row {
                Row::Sent(text) => {
                    if sent.len() > 1 {
                        sent.push(',');
                    }
                    sent.push_str(&text);
                    places.push(None);
                }
                Row::Refused(outcome) => places.push(Some(outcome)),
            }
        }
        // A list without rows is asked once, too: it may be one that the caller may not send.
        if places.is_empty() && part > 0 {
            return Ok(answer);
        }
        sent.push(']');
        let rows = RawValue::from_string(sent).map_err(Error::internal)?;
        let told = database
            .rpc(
                "lms",
                "enroll_in_bulk",
                &Arguments {
                    p_tenant_id: options.tenant_id,
                    p_rows: &rows,
                    p_dry_run: options.dry_run,
                    p_invite: options.invite,
                    p_batch_key: (!options.dry_run).then(|| format!("{}/{part}", options.key)),
                },
                Repeat::Safe,
            )
            .await?;
        drop(rows);
        let told: Vec<Outcome<'_>> = serde_json::from_slice(&told).map_err(|error| {
            Error::internal(format!("lms.enroll_in_bulk answered no outcomes: {error}"))
        })?;
        let mut told = told.into_iter();
        for place in places {
            let outcome = match place {
                Some(outcome) => outcome,
                None => told.next().ok_or_else(|| {
                    Error::internal("lms.enroll_in_bulk answered fewer rows than it was sent")
                })?,
            };
            answer.push(outcome).map_err(Error::internal)?;
        }
        part += 1;
    }
}

fn options_of_json(mut fields: Fields, exchange: &Exchange<'_>) -> Result<Options, Error> {
    let rows: Option<IsList> = fields.required("rows");
    let tenant_id = fields.required("tenant_id");
    let dry_run = fields.optional("dry_run").unwrap_or(false);
    let invite = fields.optional("invite").unwrap_or(false);
    let key = key(&mut fields, exchange);
    Ok(Options {
        tenant_id: fields.finish(rows.and(tenant_id))?,
        dry_run,
        invite,
        key,
    })
}

fn options_of_query(mut fields: Fields, exchange: &Exchange<'_>) -> Result<(Options, bool), Error> {
    let tenant_id = fields.required("tenant_id");
    let dry_run = fields.optional("dry_run").unwrap_or(false);
    let invite = fields.optional("invite").unwrap_or(false);
    let ignore_columns = fields.optional("ignore_columns").unwrap_or(false);
    let key = key(&mut fields, exchange);
    Ok((
        Options {
            tenant_id: fields.finish(tenant_id)?,
            dry_run,
            invite,
            key,
        },
        ignore_columns,
    ))
}

fn key(fields: &mut Fields, exchange: &Exchange<'_>) -> String {
    fields
        .optional_header(
            exchange.headers(),
            "idempotency-key",
            "must have 1 to 240 printable ASCII characters",
            |text| {
                (1..=LONGEST_KEY).contains(&text.len())
                    && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
            },
        )
        .unwrap_or_else(|| format!("request {}", Uuid::new_v4()))
}

fn number(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX)
}

fn refused(
    status: StatusCode,
    code: &str,
    message: String,
    hint: &str,
    details: Option<serde_json::Value>,
) -> Error {
    Error::Rule(Box::new(Rule {
        status,
        code: code.to_owned(),
        message,
        hint: (!hint.is_empty()).then(|| hint.to_owned()),
        details: details.and_then(|details| to_raw_value(&details).ok()),
        details_member: "details",
        retry_after: None,
    }))
}

fn unsupported() -> Error {
    refused(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "The body is neither JSON nor a CSV file.".to_owned(),
        "Send `application/json` in UTF-8, or `text/csv`.",
        None,
    )
}

fn too_many_rows() -> Error {
    refused(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_many_rows",
        format!("At most {MOST_ROWS} rows at a time."),
        "Send the list in parts.",
        Some(serde_json::json!({ "most_rows": MOST_ROWS })),
    )
}

fn malformed(message: String, line: Option<u64>, hint: &str) -> Error {
    refused(
        StatusCode::BAD_REQUEST,
        "malformed_file",
        message,
        hint,
        line.map(|line| serde_json::json!({ "line": line })),
    )
}

fn no_text(fault: TextFault) -> Error {
    match fault {
        TextFault::UnknownEncoding => refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "This encoding is not known here.".to_owned(),
            "Save the file as UTF-8.",
            None,
        ),
        TextFault::Encoding(name) => malformed(
            format!("The file is not {name}, as it says."),
            None,
            "Save the file as UTF-8.",
        ),
        TextFault::Nul(line) => malformed(
            format!("Line {line} holds a NUL character."),
            Some(line),
            "Save the file as UTF-8.",
        ),
    }
}

fn no_table(fault: TableFault) -> Error {
    match fault {
        TableFault::Empty => malformed(
            "The file is empty.".to_owned(),
            None,
            "The first line names the columns.",
        ),
        TableFault::LongRecord(line) => malformed(
            format!("The row that begins on line {line} is too long."),
            Some(line),
            "Perhaps a quotation mark is never closed.",
        ),
        TableFault::Columns(faults) => Error::Validation(faults),
        TableFault::TooManyRows(_) => too_many_rows(),
    }
}
