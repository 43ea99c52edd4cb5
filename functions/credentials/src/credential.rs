//! The certificate as an Open Badges 3.0 credential, secured as a JWT (VC-JWT, ES256). Pure.
//!
//! Source: 1EdTech, Open Badges Specification 3.0, sections 8.2 (JSON Web Token proof) and B (data models), which is a
//! profile of the W3C's Verifiable Credentials Data Model 2.0. The contexts are named, as JSON-LD asks, and never fetched.

use chrono::{DateTime, SecondsFormat, Utc};
use jsonwebtoken::{Algorithm, Header};
use lyceum_core::Error;
use serde_json::{Value, json};

use crate::certificate::Certificate;
use crate::keys::Signing;

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The claims of the token: the credential, and what verifiers of tokens look at.
fn claims(certificate: &Certificate, base: &str) -> Value {
    let id = format!("{base}/{}", certificate.code);
    // No person's id: it stands for the holder of this certificate and leads to no other one.
    let holder = format!("{id}#holder");
    let issuer = format!("{base}#{}", certificate.issuer_id);
    let mut claims = json!({
        "@context": [
            "https://www.w3.org/ns/credentials/v2",
            "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json",
        ],
        "id": id,
        "type": ["VerifiableCredential", "OpenBadgeCredential"],
        "name": certificate.course_title,
        "issuer": { "id": issuer, "type": ["Profile"], "name": certificate.issuer_name },
        "validFrom": instant(certificate.valid_from),
        "credentialSubject": {
            "id": holder,
            "type": ["AchievementSubject"],
            "identifier": [{
                "type": "IdentityObject", "identityType": "name", "hashed": false,
                "identityHash": certificate.holder_name,
            }],
            "achievement": {
                "id": format!("urn:uuid:{}", certificate.achievement_id),
                "type": ["Achievement"],
                "achievementType": "Certificate",
                "name": certificate.course_title,
                "description": format!("Completion of the course {}.", certificate.course_title),
                "criteria": { "narrative": "Every required part of the course was completed." },
                "inLanguage": certificate.language,
            },
        },
        "credentialStatus": { "id": format!("{id}?format=status"), "type": "1EdTechRevocationList" },
        "iss": issuer,
        "jti": id,
        "sub": holder,
        "nbf": certificate.valid_from.timestamp(),
        "iat": certificate.issued_at.timestamp(),
    });
    if let Some(expires_at) = certificate.expires_at {
        claims["validUntil"] = Value::from(instant(expires_at));
        claims["exp"] = Value::from(expires_at.timestamp());
    }
    claims
}

/// The signed credential. Signatures differ from one time to the next; what is signed does not.
pub(crate) fn signed(
    certificate: &Certificate,
    base: &str,
    signing: &Signing,
) -> Result<String, Error> {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = signing.public.first().map(|key| key.kid().to_owned());
    jsonwebtoken::encode(&header, &claims(certificate, base), &signing.key)
        .map_err(|_| Error::internal("the credential could not be signed"))
}

/// The 1EdTech revocation list of this one credential: a list of all would tell everybody all codes.
pub(crate) fn status(certificate: &Certificate, base: &str) -> Value {
    let id = format!("{base}/{}", certificate.code);
    let revoked = match certificate.revoked_on_day {
        Some(_) => vec![json!({ "id": id, "revoked": true })],
        None => vec![],
    };
    json!({
        "id": format!("{id}?format=status"),
        "issuer": format!("{base}#{}", certificate.issuer_id),
        "revokedCredential": revoked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::example;

    #[test]
    fn a_credential_says_what_the_certificate_does() {
        let claims = claims(&example(), "https://lms.example/credentials");
        assert_eq!(claims["validFrom"], "2026-03-01T09:59:59Z");
        assert_eq!(claims["validUntil"], "2029-03-01T09:59:59Z");
        assert_eq!(claims["exp"], 1_867_053_599);
        assert_eq!(claims["iss"], claims["issuer"]["id"]);
        assert_eq!(claims["sub"], claims["credentialSubject"]["id"]);
        assert_eq!(claims["jti"], claims["id"]);
        let mut endless = example();
        endless.expires_at = None;
        let claims = super::claims(&endless, "https://lms.example/credentials");
        assert!(claims.get("exp").is_none() && claims.get("validUntil").is_none());
    }

    #[test]
    fn only_what_was_revoked_is_listed() {
        let base = "https://lms.example/credentials";
        assert_eq!(status(&example(), base)["revokedCredential"], json!([]));
        let mut revoked = example();
        revoked.revoked_on_day = Some(revoked.valid_from_day);
        let list = status(&revoked, base);
        assert_eq!(
            list["revokedCredential"][0]["id"],
            format!("{base}/{}", revoked.code)
        );
    }
}
