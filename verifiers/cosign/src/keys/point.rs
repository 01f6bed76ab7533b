//! The points that ECDSA keys are.

use ::p521::elliptic_curve::sec1::{FromSec1Point, ModulusSize, Sec1Point, Tag};
use ::p521::elliptic_curve::{AffinePoint, CurveArithmetic, FieldBytesSize};

use super::KeyError;

/// Refuses what is no uncompressed point (SEC 1, 2.3.3) of the curve: with that as its key, every
/// signature would be called invalid, and not the key.
pub(super) fn check<C>(bits: &[u8], curve: &'static str) -> Result<Vec<u8>, KeyError>
where
    C: CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
{
    let point = Sec1Point::<C>::from_bytes(bits).map_err(|_| KeyError::Malformed)?;
    match point.tag() {
        Tag::Uncompressed => {}
        Tag::CompressedEvenY | Tag::CompressedOddY | Tag::Compact => {
            return Err(KeyError::CompressedPoint);
        }
        Tag::Identity => return Err(KeyError::NotOnCurve { curve }),
    }
    match Option::<AffinePoint<C>>::from(AffinePoint::<C>::from_sec1_point(&point)) {
        Some(_) => Ok(bits.to_vec()),
        None => Err(KeyError::NotOnCurve { curve }),
    }
}
