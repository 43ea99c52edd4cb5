//! Pure checks of what clients send: addresses, durations, pages, redirects.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::error::{AuthError, Result};

/// The address in lower case, or an error that says what is wrong. It must fit `auth.users.email` and be usable in a
/// mail header.
pub(crate) fn email(address: &str) -> Result<String> {
    let invalid = || AuthError::invalid("Unable to validate email address: invalid format");
    if address.len() > 255 {
        return Err(AuthError::invalid("An email address is too long"));
    }
    if address
        .chars()
        .any(|c| c.is_whitespace() || c.is_control() || "<>()[],;:\\\"".contains(c))
    {
        return Err(invalid());
    }
    let (local, domain) = address.rsplit_once('@').ok_or_else(invalid)?;
    let domain_is_valid = !domain.is_empty()
        && domain.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    if local.is_empty() || local.len() > 64 || local.contains('@') || !domain_is_valid {
        return Err(invalid());
    }
    Ok(address.to_lowercase())
}

/// The digits of an E.164 number, without the plus sign.
pub(crate) fn phone(number: &str) -> Result<String> {
    let digits: String = number.chars().filter(|c| !matches!(c, '+' | ' ')).collect();
    if (2..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|b| b.is_ascii_digit())
    {
        return Ok(digits);
    }
    Err(AuthError::invalid(
        "Invalid phone number format (E.164 required)",
    ))
}

/// A short name without control characters: a role or an audience.
pub(crate) fn name(field: &str, value: &str) -> Result<String> {
    let value = value.trim();
    if value.is_empty() || value.len() > 255 || value.chars().any(char::is_control) {
        return Err(AuthError::invalid(format!(
            "{field} must have 1 to 255 characters and no control characters"
        )));
    }
    Ok(value.to_owned())
}

/// True if a string anywhere in `value`, keys included, holds a NUL, which PostgreSQL cannot store.
pub(crate) fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains('\0') || contains_nul(value)),
        _ => false,
    }
}

/// For how long a user is banned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ban {
    Lift,
    For(Duration),
}

/// Reads Go's duration format, as the admin API takes it: `none`, `24h`, `1h30m`, `1.5h`, `300ms`.
pub(crate) fn ban_duration(text: &str) -> Result<Ban> {
    let invalid = || {
        AuthError::invalid(format!(
            "invalid format for ban duration: {text:?}. Use \"none\" or a duration such as \"24h\" or \"1h30m\""
        ))
    };
    if text == "none" {
        return Ok(Ban::Lift);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or_else(invalid)?;
        let amount: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        seconds += amount
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(invalid()),
            };
        rest = &rest[unit..];
    }
    // The longest duration Go knows is about 292 years.
    if text.is_empty() || seconds > 9.2e9 {
        return Err(invalid());
    }
    Duration::try_from_secs_f64(seconds)
        .map(Ban::For)
        .map_err(|_| invalid())
}

/// One page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// From 1.
    pub(crate) number: i64,
    pub(crate) size: i64,
}

impl Page {
    /// Reads `page` (default 1) and `per_page` (default 50); supabase-js sends them empty when they are not given.
    pub(crate) fn parse(page: Option<&str>, per_page: Option<&str>) -> Result<Self> {
        let number = |name: &str, text: Option<&str>, default: i64| match text.unwrap_or_default() {
            "" => Ok(default),
            text => match text.parse::<i64>() {
                Ok(value) if value > 0 => Ok(value),
                _ => Err(AuthError::invalid(format!(
                    "Bad Pagination Parameters: {name} must be a whole number greater than 0"
                ))),
            },
        };
        Ok(Self {
            number: number("page", page, 1)?,
            size: number("per_page", per_page, 50)?,
        })
    }

    pub(crate) fn offset(&self) -> i64 {
        (self.number - 1).saturating_mul(self.size)
    }

    pub(crate) fn last(&self, total: i64) -> i64 {
        total / self.size + i64::from(total % self.size > 0)
    }

    /// The `Link` header. supabase-js reads the page from the FIRST query parameter, so `page` comes first.
    pub(crate) fn link_header(&self, total: i64) -> String {
        let last = self.last(total);
        let link = |page: i64, rel: &str| {
            format!(
                "</admin/users?page={page}&per_page={}>; rel=\"{rel}\"",
                self.size
            )
        };
        if last > self.number {
            format!("{}, {}", link(self.number + 1, "next"), link(last, "last"))
        } else {
            link(last, "last")
        }
    }
}

/// Where a mailed link may lead: the site's own origin or this machine; anything else becomes `site_url`, or a mail
/// could hand a session to somebody else's server.
pub(crate) fn redirect(wanted: Option<&str>, site_url: &str) -> String {
    let allowed = || {
        let url = Url::parse(wanted?).ok()?;
        let site = Url::parse(site_url).ok();
        let same_origin = site.is_some_and(|site| site.origin() == url.origin());
        let local = matches!(url.scheme(), "http" | "https") && is_loopback(&url);
        (same_origin || local).then(|| url.to_string())
    };
    allowed().unwrap_or_else(|| site_url.to_owned())
}

/// True if `url` names this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses() {
        assert_eq!(
            email("Ann.Lee+x@Example.COM").unwrap(),
            "ann.lee+x@example.com"
        );
        assert_eq!(email("root@localhost").unwrap(), "root@localhost");
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in [
            "",
            "@",
            "a@",
            "@b.c",
            "a b@c.d",
            "a@b@c.d",
            "a@b..c",
            "a@-b.c",
            "a@b.c\n",
            "a\0@b.c",
            "a@b.c\r\nBcc: x@y.z",
            "<a@b.c>",
            long.as_str(),
        ] {
            assert!(email(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn phones() {
        assert_eq!(phone("+44 7700 900123").unwrap(), "447700900123");
        for bad in ["", "+0123", "12a4", "1234567890123456"] {
            assert!(phone(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nul_is_found_at_any_depth() {
        assert!(contains_nul(&json!({"a": [{"b": "x\0"}]})));
        assert!(contains_nul(&json!({"a\0": 1})));
        assert!(!contains_nul(&json!({"a": ["\n", 1, null]})));
    }

    #[test]
    fn ban_durations() {
        assert_eq!(ban_duration("none").unwrap(), Ban::Lift);
        assert_eq!(
            ban_duration("1h30m").unwrap(),
            Ban::For(Duration::from_secs(5400))
        );
        assert_eq!(
            ban_duration("0.5h").unwrap(),
            Ban::For(Duration::from_secs(1800))
        );
        assert_eq!(
            ban_duration("876000h").unwrap(),
            Ban::For(Duration::from_secs(876_000 * 3600))
        );
        for bad in [
            "",
            "h",
            "12",
            "-1h",
            "1d",
            "1h x",
            "..h",
            "99999999999h",
            "1é",
        ] {
            assert!(ban_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn pages() {
        let page = Page::parse(Some(""), Some("")).unwrap();
        assert_eq!(
            page,
            Page {
                number: 1,
                size: 50
            }
        );
        assert_eq!(
            page.link_header(0),
            "</admin/users?page=0&per_page=50>; rel=\"last\""
        );
        let page = Page::parse(Some("2"), Some("10")).unwrap();
        assert_eq!((page.offset(), page.last(21)), (10, 3));
        assert!(
            page.link_header(21)
                .starts_with("</admin/users?page=3&per_page=10>; rel=\"next\", ")
        );
        assert_eq!(
            Page::parse(Some(&i64::MAX.to_string()), None)
                .unwrap()
                .offset(),
            i64::MAX
        );
        for bad in ["0", "-1", "x", "1.5", "99999999999999999999"] {
            assert!(Page::parse(Some(bad), None).is_err());
            assert!(Page::parse(None, Some(bad)).is_err());
        }
    }

    #[test]
    fn redirects_stay_at_home() {
        let site = "https://lms.example.com/start";
        let to = |wanted| redirect(Some(wanted), site);
        assert_eq!(redirect(None, site), site);
        assert_eq!(
            to("https://lms.example.com/reset?x=1"),
            "https://lms.example.com/reset?x=1"
        );
        assert_eq!(to("http://localhost:5173/a"), "http://localhost:5173/a");
        assert_eq!(to("http://127.0.0.1:3000/"), "http://127.0.0.1:3000/");
        assert_eq!(to("http://[::1]:3000/"), "http://[::1]:3000/");
        for foreign in [
            "https://evil.example/",
            "https://lms.example.com.evil.example/",
            "//evil.example",
            "javascript:alert(1)",
            "http://127.0.0.1@evil.example/",
            "https://lms.example.com:444/",
            "/path",
            "",
        ] {
            assert_eq!(to(foreign), site, "{foreign}");
        }
    }
}
