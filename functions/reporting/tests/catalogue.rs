//! Every entry of the catalogue is what its function in the database takes and returns, as supabase/schema.sql has it, which
//! `make check-generated` compares with the migrated database.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use lyceum_reporting::{
    Locale,
    catalogue::{Chart, Column, Kind, REPORTS, Report},
    words::{Words, of},
};

/// A function: its arguments, with whether they may be left out, and its columns.
#[derive(Debug, Default)]
struct Signature {
    arguments: Vec<(String, String, bool)>,
    columns: Vec<(String, String)>,
}

fn functions() -> BTreeMap<String, Signature> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../supabase/schema.sql");
    let schema = std::fs::read_to_string(path).unwrap();
    let types = composites(&schema);
    schema
        .lines()
        .filter_map(|line| line.strip_prefix("CREATE FUNCTION "))
        .filter_map(|line| {
            let (name, rest) = line.split_once('(')?;
            let (arguments, returned) = rest.split_once(") RETURNS ").unwrap_or((rest, ""));
            let columns = match (
                returned.strip_prefix("TABLE("),
                returned.strip_prefix("SETOF "),
            ) {
                (Some(columns), _) => columns.trim_end_matches(')'),
                (None, Some(name)) => types.get(name).map_or("", String::as_str),
                (None, None) => "",
            };
            let signature = Signature {
                arguments: listed(arguments)
                    .map(|argument| {
                        let (argument, is_optional) = match argument.split_once(" DEFAULT ") {
                            Some((argument, _)) => (argument, true),
                            None => (argument, false),
                        };
                        let (name, kind) = argument.split_once(' ').unwrap();
                        (name.to_owned(), kind.to_owned(), is_optional)
                    })
                    .collect(),
                columns: listed(columns)
                    .map(|column| {
                        let (name, kind) = column.split_once(' ').unwrap();
                        (name.trim_matches('"').to_owned(), kind.to_owned())
                    })
                    .collect(),
            };
            Some((name.to_owned(), signature))
        })
        .collect()
}

/// The attributes of the composite types, by their names.
fn composites(schema: &str) -> BTreeMap<String, String> {
    schema
        .split("CREATE TYPE ")
        .skip(1)
        .filter_map(|text| {
            let (name, rest) = text.split_once(" AS (")?;
            Some((
                name.to_owned(),
                rest.split_once("\n);")?.0.replace('\n', " "),
            ))
        })
        .collect()
}

/// What stands between commas that are in no brackets or quotes.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let mut is_quoted = false;
    text.split(move |letter| {
        match letter {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '\'' => is_quoted = !is_quoted,
            _ => {}
        }
        letter == ',' && depth == 0 && !is_quoted
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

#[test]
fn every_report_is_what_its_function_takes_and_returns() {
    let functions = functions();
    let mut deviations = Vec::new();
    for report in REPORTS {
        let name = format!("{}.{}", report.schema, report.function);
        let Some(signature) = functions.get(&name) else {
            // Comes with the training records.
            if name != "lms.get_training_records" {
                deviations.push(format!("{name} does not exist"));
            }
            continue;
        };
        let mut arguments: Vec<(String, String, bool)> = report
            .parameters
            .iter()
            .map(|one| {
                (
                    one.argument().to_owned(),
                    one.sql_type().to_owned(),
                    // The database asks for the course in words of its own.
                    one.name() != "tenant_id",
                )
            })
            .collect();
        if report.page.is_some() {
            arguments.push(("p_limit".to_owned(), "integer".to_owned(), true));
            arguments.push(("p_after".to_owned(), "text".to_owned(), true));
        }
        if arguments != signature.arguments {
            deviations.push(format!("{name} takes {:?}", signature.arguments));
        }
        let has_cursor = signature
            .columns
            .last()
            .is_some_and(|last| last.0 == "cursor");
        if has_cursor != report.page.is_some() {
            deviations.push(format!("{name} has pages: {has_cursor}"));
        }
        let returned: Vec<_> = signature
            .columns
            .iter()
            .filter(|column| column.0 != "cursor")
            .collect();
        // A type of another domain may hold more than people are shown.
        let is_whole = report.schema == "analytics";
        let known = |wanted: &str, column: &Column| {
            returned
                .iter()
                .any(|(name, kind)| name == wanted && column.kind.types().contains(&kind.as_str()))
        };
        let all_known = report
            .columns
            .iter()
            .all(|column| known(column.name, column));
        let same = !is_whole && all_known
            || returned.len() == report.columns.len()
                && returned
                    .iter()
                    .zip(report.columns)
                    .all(|((name, kind), column)| {
                        name == column.name && column.kind.types().contains(&kind.as_str())
                    });
        if !same {
            deviations.push(format!("{name} returns {returned:?}"));
        }
    }
    assert!(deviations.is_empty(), "{}", deviations.join("\n"));
}

#[test]
fn every_function_that_reports_is_in_the_catalogue() {
    let known: BTreeSet<String> = REPORTS
        .iter()
        .map(|report| format!("{}.{}", report.schema, report.function))
        .collect();
    let missing: Vec<_> = functions()
        .into_keys()
        .filter(|name| {
            (name.starts_with("analytics.get_") || name == "lms.get_training_records")
                && !known.contains(name)
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn names_follow_from_functions() {
    for report in REPORTS {
        assert_eq!(
            report.function,
            format!("get_{}", report.name.replace('-', "_"))
        );
        assert!(report.page.is_none_or(|page| (1..=1000).contains(&page)));
    }
}

/// Where something is drawn of a column, it is there, and is what can be drawn.
#[test]
fn charts_are_of_columns_that_there_are() {
    let kind = |report: &Report, name: &str| report.columns[report.place(name).unwrap()].kind;
    for report in REPORTS {
        match report.chart {
            Chart::None => {}
            Chart::Parts(columns) | Chart::Steps(columns) => {
                assert!(columns.iter().all(|name| kind(report, name) == Kind::Count));
            }
            Chart::Bars(label, value) => {
                assert!(matches!(kind(report, label), Kind::Text | Kind::Course));
                assert!(kind(report, value).is_number());
            }
            Chart::Time(day, value) => {
                assert_eq!(kind(report, day), Kind::Day);
                assert!(kind(report, value).is_number());
            }
            Chart::Curves(group, along, height) => {
                assert_eq!(kind(report, group), Kind::Day);
                assert_eq!(kind(report, along), Kind::Count);
                assert_eq!(kind(report, height), Kind::Percent);
            }
            Chart::States(column) => assert_eq!(kind(report, column), Kind::Word),
        }
    }
}

#[test]
fn everything_is_said_in_every_language() {
    let check = |words: Words| {
        for locale in Locale::ALL {
            assert!(!of(words, locale).trim().is_empty(), "{words:?}");
        }
    };
    for report in REPORTS {
        check(report.title);
        check(report.counts);
        for column in report.columns {
            check(column.heading);
        }
        for parameter in report.parameters {
            check(parameter.meaning());
        }
        let headings: BTreeSet<_> = report
            .columns
            .iter()
            .map(|column| column.heading[0])
            .collect();
        assert_eq!(
            headings.len(),
            report.columns.len(),
            "{}: two columns of one heading",
            report.name
        );
    }
}
