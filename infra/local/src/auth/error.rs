//! Every error a client of the auth routes can see, in GoTrue's shape: `{"code": status, "error_code", "msg"}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// GoTrue's stable error codes, as supabase-js knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    AnonymousProviderDisabled,
    BadCodeVerifier,
    BadJson,
    BadJwt,
    Conflict,
    EmailExists,
    EmailNotConfirmed,
    FlowStateExpired,
    FlowStateNotFound,
    InvalidCredentials,
    NoAuthorization,
    NotAdmin,
    OtpDisabled,
    OtpExpired,
    PhoneExists,
    PhoneProviderDisabled,
    ReauthenticationNotValid,
    RefreshTokenAlreadyUsed,
    RefreshTokenNotFound,
    SamePassword,
    SessionNotFound,
    UnexpectedFailure,
    UserAlreadyExists,
    UserBanned,
    UserNotFound,
    ValidationFailed,
    WeakPassword,
}

impl Code {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AnonymousProviderDisabled => "anonymous_provider_disabled",
            Self::BadCodeVerifier => "bad_code_verifier",
            Self::BadJson => "bad_json",
            Self::BadJwt => "bad_jwt",
            Self::Conflict => "conflict",
            Self::EmailExists => "email_exists",
            Self::EmailNotConfirmed => "email_not_confirmed",
            Self::FlowStateExpired => "flow_state_expired",
            Self::FlowStateNotFound => "flow_state_not_found",
            Self::InvalidCredentials => "invalid_credentials",
            Self::NoAuthorization => "no_authorization",
            Self::NotAdmin => "not_admin",
            Self::OtpDisabled => "otp_disabled",
            Self::OtpExpired => "otp_expired",
            Self::PhoneExists => "phone_exists",
            Self::PhoneProviderDisabled => "phone_provider_disabled",
            Self::ReauthenticationNotValid => "reauthentication_not_valid",
            Self::RefreshTokenAlreadyUsed => "refresh_token_already_used",
            Self::RefreshTokenNotFound => "refresh_token_not_found",
            Self::SamePassword => "same_password",
            Self::SessionNotFound => "session_not_found",
            Self::UnexpectedFailure => "unexpected_failure",
            Self::UserAlreadyExists => "user_already_exists",
            Self::UserBanned => "user_banned",
            Self::UserNotFound => "user_not_found",
            Self::ValidationFailed => "validation_failed",
            Self::WeakPassword => "weak_password",
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, AuthError>;

/// What went wrong, as the client is told it; the cause goes to the log only.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct AuthError {
    status: StatusCode,
    code: Code,
    message: String,
    source: Option<anyhow::Error>,
}

impl AuthError {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            source: None,
        }
    }

    /// The request is not well formed.
    pub(crate) fn bad_request(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A field of the request has an unacceptable value.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::bad_request(Code::ValidationFailed, message)
    }

    /// The request carries no bearer token.
    pub(crate) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            Code::NoAuthorization,
            "This endpoint requires a valid Bearer token",
        )
    }

    /// The caller is known, or claims to be, and may not do this.
    pub(crate) fn forbidden(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }

    pub(crate) fn not_found(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// The request is well formed, but the state of the account does not allow it.
    pub(crate) fn unprocessable(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    /// Our own fault, or the database's.
    pub(crate) fn internal(message: impl Into<String>, source: impl Into<anyhow::Error>) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                Code::UnexpectedFailure,
                message,
            )
        }
    }

    pub(crate) fn invalid_login() -> Self {
        Self::bad_request(Code::InvalidCredentials, "Invalid login credentials")
    }

    pub(crate) fn otp_expired() -> Self {
        Self::forbidden(Code::OtpExpired, "Token has expired or is invalid")
    }

    pub(crate) fn email_exists() -> Self {
        Self::unprocessable(
            Code::EmailExists,
            "A user with this email address has already been registered",
        )
    }

    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Adapter for `map_err`: a failed statement, told to the client as `message` (a trigger's error included).
    pub(crate) fn database(
        message: &'static str,
    ) -> impl FnOnce(tokio_postgres::Error) -> Self + Copy {
        move |error| Self::internal(message, error)
    }
}

/// True if `error` is a violation of the unique constraint or index `name`.
pub(crate) fn violates(error: &tokio_postgres::Error, name: &str) -> bool {
    error.as_db_error().is_some_and(|db| {
        *db.code() == tokio_postgres::error::SqlState::UNIQUE_VIOLATION
            && db.constraint() == Some(name)
    })
}

impl From<tokio_postgres::Error> for AuthError {
    fn from(error: tokio_postgres::Error) -> Self {
        // Class 22 is "data exception": a value that passed our checks and that PostgreSQL cannot store.
        if error
            .code()
            .is_some_and(|state| state.code().starts_with("22"))
        {
            return Self {
                source: Some(error.into()),
                ..Self::invalid("The request contains a value that cannot be stored")
            };
        }
        Self::internal("Database error. See the log of the local stack", error)
    }
}

impl From<deadpool_postgres::PoolError> for AuthError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            ..Self::internal(
                "The database does not answer. Check it with: lyceum status",
                error,
            )
        }
    }
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            let cause = self.source.as_ref().map(|cause| format!("{cause:#}"));
            tracing::error!(status = self.status.as_u16(), cause, "{}", self.message);
        } else {
            tracing::debug!(
                status = self.status.as_u16(),
                code = self.code.as_str(),
                "{}",
                self.message
            );
        }
        let mut body = json!({
            "code": self.status.as_u16(),
            "error_code": self.code.as_str(),
            "msg": self.message,
        });
        if self.code == Code::WeakPassword {
            body["weak_password"] = json!({ "reasons": ["length"] });
        }
        (self.status, Json(body)).into_response()
    }
}
