//! PKCE (RFC 7636) for mailed links: the link ends in a code that only the client which asked for the mail can redeem.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deadpool_postgres::Transaction;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::error::{AuthError, Code, Result};
use super::request::Body;

/// What the client sent along when it asked for a mail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    challenge: String,
    method: &'static str,
}

impl Challenge {
    pub(crate) fn parse(body: &Body) -> Result<Option<Self>> {
        let (challenge, method) = match (
            body.text("code_challenge")?,
            body.text("code_challenge_method")?,
        ) {
            (None, None) => return Ok(None),
            (Some(challenge), Some(method)) => (challenge, method.to_ascii_lowercase()),
            _ => {
                return Err(AuthError::invalid(
                    "PKCE flow requires code_challenge_method and code_challenge",
                ));
            }
        };
        let method = match method.as_str() {
            "s256" => "s256",
            "plain" => "plain",
            _ => {
                return Err(AuthError::invalid(
                    "code_challenge_method must be s256 or plain",
                ));
            }
        };
        if !(43..=128).contains(&challenge.len())
            || !challenge
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        {
            return Err(AuthError::invalid(
                "code challenge must have 43 to 128 characters of [A-Za-z0-9-._~]",
            ));
        }
        Ok(Some(Self {
            challenge: challenge.to_owned(),
            method,
        }))
    }

    /// Remembers the challenge until the mailed link is opened. `kind` is the type in that link.
    pub(crate) async fn store(
        &self,
        tx: &Transaction<'_>,
        user_id: Uuid,
        kind: &str,
    ) -> Result<()> {
        tx.execute(
            "insert into auth.flow_state (id, user_id, auth_code, code_challenge_method, code_challenge, provider_type,
                                          created_at, updated_at, authentication_method)
             values ($1, $2, $3, $4::text::auth.code_challenge_method, $5, $6, now(), now(), $6)",
            &[
                &Uuid::new_v4(),
                &user_id,
                &Uuid::new_v4().to_string(),
                &self.method,
                &self.challenge,
                &kind,
            ],
        )
        .await?;
        Ok(())
    }
}

/// The code for a link of type `kind` that the user has just opened.
pub(crate) async fn issue_code(tx: &Transaction<'_>, user_id: Uuid, kind: &str) -> Result<String> {
    let row = tx
        .query_opt(
            "update auth.flow_state set auth_code_issued_at = now(), updated_at = now()
              where id = (select id from auth.flow_state where user_id = $1 and authentication_method = $2
                           order by created_at desc limit 1)
              returning auth_code",
            &[&user_id, &kind],
        )
        .await?
        .ok_or_else(flow_not_found)?;
    Ok(row.try_get(0)?)
}

/// Redeems a code by its verifier: the user, and how the user was authenticated. A code works once.
pub(crate) async fn redeem(
    tx: &Transaction<'_>,
    code: &str,
    verifier: &str,
) -> Result<(Uuid, String)> {
    let row = tx
        .query_opt(
            "delete from auth.flow_state where auth_code = $1 and auth_code_issued_at is not null
             returning user_id, authentication_method, code_challenge, code_challenge_method::text,
                       auth_code_issued_at > now() - interval '5 minutes'",
            &[&code],
        )
        .await?
        .ok_or_else(flow_not_found)?;
    if !row.try_get::<_, bool>(4)? {
        return Err(AuthError::forbidden(
            Code::FlowStateExpired,
            "Flow state is expired",
        ));
    }
    if !answers(
        verifier,
        &row.try_get::<_, String>(2)?,
        &row.try_get::<_, String>(3)?,
    ) {
        return Err(AuthError::bad_request(
            Code::BadCodeVerifier,
            "code challenge does not match previously saved code verifier",
        ));
    }
    let user_id = row.try_get::<_, Option<_>>(0)?.ok_or_else(flow_not_found)?;
    Ok((user_id, row.try_get(1)?))
}

fn answers(verifier: &str, challenge: &str, method: &str) -> bool {
    match method {
        "s256" => URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) == challenge,
        _ => verifier == challenge,
    }
}

fn flow_not_found() -> AuthError {
    AuthError::not_found(
        Code::FlowStateNotFound,
        "invalid flow state, no valid flow state found",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert!(answers(
            verifier,
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "s256"
        ));
        assert!(!answers(
            "other",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "s256"
        ));
        assert!(answers("same", "same", "plain"));
    }

    #[test]
    fn challenges() {
        let parse = |json: String| Challenge::parse(&Body::parse(json.as_bytes()).unwrap());
        assert_eq!(parse("{}".into()).unwrap(), None);
        let long = "a".repeat(43);
        assert!(
            parse(format!(
                r#"{{"code_challenge":"{long}","code_challenge_method":"S256"}}"#
            ))
            .unwrap()
            .is_some()
        );
        for bad in [
            format!(r#"{{"code_challenge":"{long}"}}"#),
            format!(r#"{{"code_challenge":"{long}","code_challenge_method":"md5"}}"#),
            r#"{"code_challenge":"short","code_challenge_method":"s256"}"#.to_owned(),
        ] {
            assert!(parse(bad).is_err());
        }
    }
}
