//! The verification page. Pure: no script, nothing from elsewhere, and nothing that a verifier does not need.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lyceum_core::Error;
use sha2::{Digest as _, Sha256};

use crate::certificate::{Certificate, Status, day};
use crate::qr::Qr;

const STYLE: &str = include_str!("page.css");

/// Without the invisible characters that turn the text around them: a name that reads as another one.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .filter(|letter| !matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .collect()
}

/// Text inside an element or a quoted attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in plain(text).chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}

/// The policy that lets this style in and nothing else: whatever got into a page, it runs nothing and loads nothing.
pub(crate) fn policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex, nofollow\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escaped(title)
    )
}

/// What whoever checks a certificate sees.
pub(crate) fn page(
    certificate: &Certificate,
    address: &str,
    signed: bool,
) -> Result<String, Error> {
    let (word, sentence) = match certificate.status {
        Status::Valid => ("Valid", "This certificate is valid.".to_owned()),
        Status::Expired => (
            "Expired",
            format!(
                "This certificate expired on {}.",
                certificate.expires_on_day.map(day).unwrap_or_default()
            ),
        ),
        Status::Revoked => (
            "Revoked",
            format!(
                "This certificate was revoked on {} and is not valid.",
                certificate.revoked_on_day.map(day).unwrap_or_default()
            ),
        ),
    };
    let class = word.to_ascii_lowercase();
    let mut facts = vec![
        ("Completed on", day(certificate.valid_from_day)),
        (
            "Valid until",
            certificate
                .expires_on_day
                .map_or_else(|| "no end".to_owned(), day),
        ),
        ("Issued by", escaped(&certificate.issuer_name)),
        ("Serial number", escaped(&certificate.serial)),
    ];
    facts.push(("Code", grouped(&certificate.code)));
    let facts: String = facts
        .into_iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"))
        .collect();
    let mut links = Vec::new();
    if certificate.status != Status::Revoked {
        links.push("<a href=\"?format=pdf\">PDF</a>");
    }
    if signed && certificate.status == Status::Valid {
        links.push("<a href=\"?format=jwt\">Open Badges 3.0 credential</a>");
    }
    let body = format!(
        "<p class=\"status {class}\" role=\"status\"><strong>{word}.</strong> {sentence}</p>\n\
         <article>\n<p class=\"small\">Certificate of completion</p>\n<h1>{}</h1>\n<p>completed</p>\n<h2>{}</h2>\n\
         <dl>\n{facts}</dl>\n<figure>{}<figcaption>{}</figcaption></figure>\n</article>\n<p class=\"links\">{}</p>\n",
        escaped(&certificate.holder_name),
        escaped(&certificate.course_title),
        Qr::of(address)?.svg(),
        escaped(address),
        links.join(" · "),
    );
    Ok(document(
        &format!("{word}: certificate {}", certificate.serial),
        &body,
    ))
}

/// What whoever mistyped a code sees, and whoever made one up.
pub(crate) fn not_found() -> String {
    document(
        "No such certificate",
        "<p class=\"status revoked\" role=\"status\"><strong>Not found.</strong> There is no certificate with this code.</p>\n\
         <p>Check that the address is complete. A code has 26 letters and digits.</p>\n",
    )
}

/// In groups, as people read it out.
pub(crate) fn grouped(code: &str) -> String {
    let mut text = String::new();
    for (place, letter) in code.chars().enumerate() {
        if place > 0 && place % 5 == 0 {
            text.push('-');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::certificate::example;

    const ADDRESS: &str = "https://lms.example/credentials/0123456789ABCDEFGHJKMNPQRS";

    #[test]
    fn names_are_text_and_nothing_else() {
        let page = page(&example(), ADDRESS, true).unwrap();
        assert!(
            page.contains("<h1>Dora &lt;b&gt;&amp;&quot;&#39;</h1>"),
            "{page}"
        );
        assert!(!page.contains("<b>"));
        assert!(!page.contains("<script"));
        assert!(!page.contains("http://"));
        // Its own address is shown, and nothing is loaded from anywhere.
        assert_eq!(page.matches("https://").count(), 1, "{page}");
        assert!(page.contains("01234-56789-ABCDE-FGHJK-MNPQR-S"));
    }

    #[test]
    fn what_does_not_hold_says_so() {
        let mut certificate = example();
        certificate.status = Status::Expired;
        let text = page(&certificate, ADDRESS, true).unwrap();
        assert!(text.contains("expired on 1 March 2029"), "{text}");
        assert!(text.contains("format=pdf") && !text.contains("format=jwt"));
        certificate.status = Status::Revoked;
        certificate.revoked_on_day = chrono::NaiveDate::from_ymd_opt(2027, 4, 5);
        let text = page(&certificate, ADDRESS, true).unwrap();
        assert!(text.contains("revoked on 5 April 2027"), "{text}");
        assert!(
            !text.contains("format=") && !text.contains("is valid."),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn no_text_escapes(text in "\\PC{0,40}|[<>\"'&]{0,10}") {
            let safe = escaped(&text);
            prop_assert!(!safe.contains(['<', '>', '"', '\'']));
        }
    }

    #[test]
    fn no_text_turns_another_around() {
        assert_eq!(escaped("Eve \u{202e}nimdA\u{202c}"), "Eve nimdA");
    }
}
