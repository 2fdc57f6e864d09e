//! What a node says that was asked to send to one of its sockets: a byte.

use super::super::SendFailure;
use crate::hub::SendError;

const SENT: u8 = 0;
const UNKNOWN: u8 = 1;
const CLOSED: u8 = 2;
const BACKPRESSURE: u8 = 3;

pub(super) fn code(outcome: Result<(), SendFailure>) -> u8 {
    match outcome {
        Ok(()) => SENT,
        Err(SendFailure::Refused(SendError::Closed)) => CLOSED,
        Err(SendFailure::Refused(SendError::Backpressure)) => BACKPRESSURE,
        Err(SendFailure::Unknown | SendFailure::NotCarried(_) | SendFailure::Silent) => UNKNOWN,
    }
}

pub(super) fn outcome(code: &[u8]) -> Result<(), SendFailure> {
    Err(match code {
        [SENT] => return Ok(()),
        [UNKNOWN] => SendFailure::Unknown,
        [CLOSED] => SendError::Closed.into(),
        [BACKPRESSURE] => SendError::Backpressure.into(),
        // Of another version.
        _ => SendFailure::Silent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for said in [
            Ok(()),
            Err(SendFailure::Unknown),
            Err(SendError::Closed.into()),
            Err(SendError::Backpressure.into()),
        ] {
            assert_eq!(outcome(&[code(said)]), said);
        }
        assert_eq!(outcome(&[]), Err(SendFailure::Silent));
        assert_eq!(outcome(&[9]), Err(SendFailure::Silent));
    }
}
