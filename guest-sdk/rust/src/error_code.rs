//! The contract's errors as the standard library's.

use std::io::{self, ErrorKind};

use crate::bindings::stream::wharf::handler::types::ErrorCode;

/// The error of the kind that the standard library would use.
pub(crate) fn io_error(code: ErrorCode) -> io::Error {
    match code {
        ErrorCode::TimedOut => ErrorKind::TimedOut.into(),
        ErrorCode::ConnectionReset => ErrorKind::ConnectionReset.into(),
        ErrorCode::BrokenPipe => ErrorKind::BrokenPipe.into(),
        ErrorCode::MessageTooLarge => io::Error::new(ErrorKind::InvalidInput, "message too large"),
        ErrorCode::NotPermitted => io::Error::new(ErrorKind::PermissionDenied, "the operator has not granted this"),
        ErrorCode::Other(text) => io::Error::other(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_code_is_the_kind_that_std_would_give() {
        let table = [
            (ErrorCode::TimedOut, ErrorKind::TimedOut, "timed out"),
            (ErrorCode::ConnectionReset, ErrorKind::ConnectionReset, "connection reset"),
            (ErrorCode::BrokenPipe, ErrorKind::BrokenPipe, "broken pipe"),
            (ErrorCode::MessageTooLarge, ErrorKind::InvalidInput, "message too large"),
            (ErrorCode::NotPermitted, ErrorKind::PermissionDenied, "the operator has not granted this"),
            (ErrorCode::Other("no route".into()), ErrorKind::Other, "no route"),
        ];
        for (code, kind, text) in table {
            let error = io_error(code);
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
        }
    }
}
