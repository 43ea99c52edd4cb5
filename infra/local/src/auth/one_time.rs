//! One-time tokens: the six digits and the link token that a mail carries, and their redemption.

use deadpool_postgres::Transaction;
use rand::Rng;
use sha2::{Digest, Sha224};
use uuid::Uuid;

use super::error::{AuthError, Result};

/// Marks a token whose link ends in a PKCE code instead of a session.
pub(crate) const PKCE_PREFIX: &str = "pkce_";

const LIFETIME: &str = "1 hour";

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Confirmation,
    Recovery,
    EmailChangeCurrent,
    EmailChangeNew,
    Reauthentication,
}

impl Purpose {
    /// The value in `auth.one_time_tokens`, also the column of `auth.users`.
    fn name(self) -> &'static str {
        match self {
            Self::Confirmation => "confirmation_token",
            Self::Recovery => "recovery_token",
            Self::EmailChangeCurrent => "email_change_token_current",
            Self::EmailChangeNew => "email_change_token_new",
            Self::Reauthentication => "reauthentication_token",
        }
    }

    fn sent_at(self) -> &'static str {
        match self {
            Self::Confirmation => "confirmation_sent_at",
            Self::Recovery => "recovery_sent_at",
            Self::EmailChangeCurrent | Self::EmailChangeNew => "email_change_sent_at",
            Self::Reauthentication => "reauthentication_sent_at",
        }
    }
}

/// A fresh code and the hash under which it is stored; the hash is also the token in the link.
#[derive(Clone, Debug)]
pub(crate) struct OneTimeToken {
    pub(crate) otp: String,
    pub(crate) hash: String,
}

impl OneTimeToken {
    pub(crate) fn generate(email: &str, pkce: bool) -> Self {
        let otp = format!("{:06}", rand::rng().random_range(0..1_000_000));
        let prefix = if pkce { PKCE_PREFIX } else { "" };
        Self {
            hash: format!("{prefix}{}", hash(email, &otp)),
            otp,
        }
    }
}

/// The hash of a code that was mailed to `email` (lower case): 56 hexadecimal digits.
pub(crate) fn hash(email: &str, otp: &str) -> String {
    let digest = Sha224::new()
        .chain_update(email)
        .chain_update(otp)
        .finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Stores the token in place of any earlier one for the same purpose.
pub(crate) async fn store(
    tx: &Transaction<'_>,
    user_id: Uuid,
    purpose: Purpose,
    email: &str,
    token: &OneTimeToken,
) -> Result<()> {
    let failed = AuthError::database("Database error storing the token");
    tx.execute(
        &format!(
            "update auth.users set {} = $2, {} = now(), updated_at = now() where id = $1",
            purpose.name(),
            purpose.sent_at()
        ),
        &[&user_id, &token.hash],
    )
    .await
    .map_err(failed)?;
    tx.execute(
        "insert into auth.one_time_tokens (id, user_id, token_type, token_hash, relates_to)
         values ($1, $2, $3::text::auth.one_time_token_type, $4, $5)
         on conflict (user_id, token_type) do update
            set token_hash = excluded.token_hash, relates_to = excluded.relates_to,
                created_at = excluded.created_at, updated_at = excluded.updated_at",
        &[
            &Uuid::new_v4(),
            &user_id,
            &purpose.name(),
            &token.hash,
            &email,
        ],
    )
    .await
    .map_err(failed)?;
    Ok(())
}

/// A token that was just redeemed.
pub(crate) struct Redeemed {
    pub(crate) user_id: Uuid,
    pub(crate) purpose: Purpose,
}

/// Redeems the token with this hash, if one exists for one of `purposes`, or None. An expired one is None too. Of two
/// simultaneous attempts one wins.
pub(crate) async fn redeem(
    tx: &Transaction<'_>,
    token_hash: &str,
    purposes: &[Purpose],
) -> Result<Option<Redeemed>> {
    let names: Vec<&str> = purposes.iter().map(|purpose| purpose.name()).collect();
    let hashes = [token_hash.to_owned(), format!("{PKCE_PREFIX}{token_hash}")];
    let row = tx
        .query_opt(
            &format!(
                "delete from auth.one_time_tokens
                  where id = (select id from auth.one_time_tokens
                               where token_hash = any($1) and token_type::text = any($2)
                                 and created_at > localtimestamp - interval '{LIFETIME}'
                               limit 1 for update)
                  returning user_id, token_type::text"
            ),
            &[&hashes.as_slice(), &names],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (user_id, name): (Uuid, String) = (row.try_get(0)?, row.try_get(1)?);
    let Some(purpose) = purposes.iter().copied().find(|p| p.name() == name) else {
        return Ok(None);
    };
    tx.execute(
        &format!(
            "update auth.users set {} = '', updated_at = now() where id = $1",
            purpose.name()
        ),
        &[&user_id],
    )
    .await?;
    Ok(Some(Redeemed { user_id, purpose }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_six_digits_and_are_bound_to_the_address() {
        for _ in 0..100 {
            let token = OneTimeToken::generate("a@b.c", false);
            assert!(token.otp.len() == 6 && token.otp.bytes().all(|b| b.is_ascii_digit()));
            assert_eq!(token.hash, hash("a@b.c", &token.otp));
            assert_ne!(token.hash, hash("x@b.c", &token.otp));
        }
        assert!(
            OneTimeToken::generate("a@b.c", true)
                .hash
                .starts_with(PKCE_PREFIX)
        );
    }

    #[test]
    fn the_hash_is_sha_224_in_hexadecimal() {
        // RFC 3874, test vector 1: SHA-224("abc").
        assert_eq!(
            hash("ab", "c"),
            "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"
        );
    }
}
