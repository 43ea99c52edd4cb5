//! Every error a client of the storage routes can see, in the real service's shape:
//! `{"statusCode", "error", "code", "message"}`. The HTTP status is 400 for all faults of the caller, as there; what kind
//! of fault it is stands in `statusCode`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio_postgres::error::SqlState;

pub(super) type Result<T> = std::result::Result<T, StorageError>;

/// What went wrong, as the client is told it; the cause goes to the log only.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct StorageError {
    status: u16,
    /// The real service's stable code, as supabase-js knows it.
    code: &'static str,
    /// The older word for it.
    error: &'static str,
    message: String,
    source: Option<anyhow::Error>,
}

impl StorageError {
    fn new(
        status: u16,
        code: &'static str,
        error: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            error,
            message: message.into(),
            source: None,
        }
    }

    fn because(self, source: impl Into<anyhow::Error>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    pub(super) fn no_route(message: String) -> Self {
        Self::new(404, "InvalidRequest", "Not Found", message)
    }

    pub(super) fn no_such_bucket() -> Self {
        Self::new(404, "NoSuchBucket", "Bucket not found", "Bucket not found")
    }

    /// There is none, or the caller may not see it: nobody learns which.
    pub(super) fn no_such_object() -> Self {
        Self::new(404, "NoSuchKey", "not_found", "Object not found")
    }

    pub(super) fn access_denied(message: impl Into<String>) -> Self {
        Self::new(403, "AccessDenied", "Unauthorized", message)
    }

    pub(super) fn invalid_token(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidJWT", "InvalidJWT", message)
    }

    pub(super) fn invalid_signature() -> Self {
        Self::new(
            400,
            "InvalidSignature",
            "InvalidSignature",
            "Invalid signature",
        )
    }

    pub(super) fn expired_signature() -> Self {
        Self::new(
            400,
            "ExpiredToken",
            "ExpiredToken",
            "The provided token has expired.",
        )
    }

    pub(super) fn invalid_name(name: &str) -> Self {
        // What may be a megabyte long is not said back.
        let shown: String = name.chars().take(200).collect();
        Self::new(
            400,
            "InvalidKey",
            "InvalidKey",
            format!("Invalid key: {shown}"),
        )
    }

    pub(super) fn invalid_bucket_name() -> Self {
        Self::new(
            400,
            "InvalidBucketName",
            "Invalid Input",
            "Bucket name invalid",
        )
    }

    pub(super) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequest", "InvalidRequest", message)
    }

    pub(super) fn already_exists() -> Self {
        Self::new(
            409,
            "ResourceAlreadyExists",
            "Duplicate",
            "The resource already exists",
        )
    }

    pub(super) fn bucket_not_empty() -> Self {
        Self::new(
            409,
            "ResourceNotEmpty",
            "InvalidRequest",
            "The bucket you tried to delete is not empty",
        )
    }

    pub(super) fn too_large() -> Self {
        Self::new(
            413,
            "EntityTooLarge",
            "Payload too large",
            "The object exceeded the maximum allowed size",
        )
    }

    pub(super) fn invalid_type(kind: &str) -> Self {
        let shown: String = kind.chars().take(100).collect();
        Self::new(
            415,
            "InvalidMimeType",
            "invalid_mime_type",
            format!("mime type {shown} is not supported"),
        )
    }

    pub(super) fn disk(error: std::io::Error) -> Self {
        Self::new(
            500,
            "InternalError",
            "Internal",
            "The folder of the stored files cannot be used. See the log of the local stack",
        )
        .because(error)
    }

    pub(super) fn internal(error: impl Into<anyhow::Error>) -> Self {
        Self::new(500, "InternalError", "Internal", "Internal Server Error").because(error)
    }
}

impl From<tokio_postgres::Error> for StorageError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(fault) = error.as_db_error() else {
            return Self::new(
                503,
                "DatabaseError",
                "DatabaseError",
                "The database does not answer. Check it with: lyceum status",
            )
            .because(error);
        };
        let message = fault.message();
        match fault.code() {
            code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                // PostgreSQL names the table; the real service does not.
                let message = if message.contains("row-level security policy") {
                    "new row violates row-level security policy"
                } else {
                    message
                };
                Self::access_denied(message).because(error)
            }
            code if *code == SqlState::UNIQUE_VIOLATION => Self::already_exists().because(error),
            code if *code == SqlState::FOREIGN_KEY_VIOLATION => {
                Self::no_such_bucket().because(error)
            }
            code if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE => {
                Self::new(
                    544,
                    "DatabaseTimeout",
                    "DatabaseTimeout",
                    "The connection to the database timed out",
                )
                .because(error)
            }
            // "Data exception": a value that passed our checks and that PostgreSQL cannot store.
            code if code.code().starts_with("22") => {
                Self::invalid_request("The request contains a value that cannot be stored")
                    .because(error)
            }
            _ => Self::new(
                500,
                "DatabaseError",
                "DatabaseError",
                "Database error. See the log of the local stack",
            )
            .because(error),
        }
    }
}

impl From<deadpool_postgres::PoolError> for StorageError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::new(
            503,
            "DatabaseError",
            "DatabaseError",
            "The database does not answer. Check it with: lyceum status",
        )
        .because(error)
    }
}

impl IntoResponse for StorageError {
    fn into_response(self) -> Response {
        if let Some(source) = &self.source {
            if self.status >= 500 {
                tracing::error!(error = format!("{source:#}"), "{}", self.message);
            } else {
                tracing::debug!(error = format!("{source:#}"), "{}", self.message);
            }
        }
        let status = match self.status {
            404 if self.code == "InvalidRequest" => StatusCode::NOT_FOUND,
            500.. => StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            _ => StatusCode::BAD_REQUEST,
        };
        let body = json!({
            "statusCode": self.status.to_string(), "code": self.code, "error": self.error, "message": self.message,
        });
        (status, Json(body)).into_response()
    }
}
