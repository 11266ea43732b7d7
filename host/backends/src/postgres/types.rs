//! Sends an instant to PostgreSQL and back in the binary form of `timestamptz`, to the microsecond.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};
use switchover_core::Timestamp;

/// Text as bytes, which need not be valid UTF-8: a key after which a scan continues, or a payload that is text.
pub(super) struct RawText<'t>(pub(super) &'t [u8]);

impl Type<Postgres> for RawText<'_> {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for RawText<'_> {
    fn array_type_info() -> PgTypeInfo {
        <&str as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for RawText<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0);
        Ok(IsNull::No)
    }
}

/// `timestamptz` and its array: fixed OIDs in `pg_type`.
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);
/// 2000-01-01, from which PostgreSQL counts, in microseconds of the Unix epoch.
const EPOCH: i64 = 946_684_800_000_000;

/// An instant. Times before 1970 and `-infinity` become 1970: they have ended. Times after 9999 and `infinity` are not
/// read, because two different ones would be equal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instant(pub(super) Timestamp);

impl Type<Postgres> for Instant {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Instant {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for Instant {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let micros = i64::try_from(self.0.as_micros()).expect("`Timestamp::MAX` is below `i64::MAX`");
        Encode::<Postgres>::encode(micros - EPOCH, buffer)
    }
}

impl Decode<'_, Postgres> for Instant {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        if value.format() != PgValueFormat::Binary {
            return Err("a time in text form".into());
        }
        let bytes: [u8; 8] = value.as_bytes()?.try_into()?;
        let micros = u64::try_from(i64::from_be_bytes(bytes).saturating_add(EPOCH)).unwrap_or(0);
        let time = Timestamp::from_micros(micros);
        if time.as_micros() < micros { Err("a time after the year 9999".into()) } else { Ok(Self(time)) }
    }
}
