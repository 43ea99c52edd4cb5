//! Signatures of webhooks, as Standard Webhooks has them (<https://www.standardwebhooks.com>). Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The value of `webhook-signature`: one `v1,<base64>` for each secret, over `id.timestamp.body`. None when a secret is
/// malformed, or there is none.
pub(crate) fn signatures(
    secrets: &[String],
    id: &str,
    timestamp: i64,
    body: &str,
) -> Option<String> {
    let signed: Option<Vec<String>> = secrets
        .iter()
        .map(|secret| {
            let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
            mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
            Some(format!(
                "v1,{}",
                STANDARD.encode(mac.finalize().into_bytes())
            ))
        })
        .collect();
    signed
        .filter(|signed| !signed.is_empty())
        .map(|signed| signed.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn it_is_what_another_implementation_says() {
        let signature = signatures(
            &[SECRET.to_owned()],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(
            signature.unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn each_secret_signs() {
        let two = [SECRET.to_owned(), "whsec_AAAA".to_owned()];
        let both = signatures(&two, "a", 1, "{}").unwrap();
        let parts: Vec<&str> = both.split(' ').collect();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0], signatures(&two[..1], "a", 1, "{}").unwrap());
        assert_ne!(parts[0], parts[1]);
    }

    #[test]
    fn nothing_goes_out_unsigned() {
        assert_eq!(signatures(&[], "a", 1, "{}"), None);
        assert_eq!(signatures(&["whsec_?".to_owned()], "a", 1, "{}"), None);
        assert_eq!(signatures(&["secret".to_owned()], "a", 1, "{}"), None);
    }
}
