//! When a job is due. People write times by hand: `-infinity`, or one before 1970, is as due as any other.

use std::time::SystemTime;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, Timestamp, ToSql, Type, to_sql_checked};

/// When a job may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    Always,
    At(SystemTime),
    Never,
}

impl<'a> FromSql<'a> for Due {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match Timestamp::from_sql(ty, raw)? {
            Timestamp::NegInfinity => Self::Always,
            Timestamp::Value(at) => Self::At(at),
            Timestamp::PosInfinity => Self::Never,
        })
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

impl ToSql for Due {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let timestamp = match *self {
            Self::Always => Timestamp::NegInfinity,
            Self::At(at) => Timestamp::Value(at),
            Self::Never => Timestamp::PosInfinity,
        };
        timestamp.to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}
