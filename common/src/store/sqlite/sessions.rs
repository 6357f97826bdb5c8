//! The tables `users`, `sessions` and `session_keys`.

use async_trait::async_trait;
use sqlx::FromRow;
use uuid::Uuid;

use super::rows::{Blob, index, known};
use super::{SqliteBackend, json};
use crate::otp::channel::Channel;
use crate::otp::ids::ProjectId;
use crate::otp::rows::Indexes;
use crate::otp::time::Timestamp;
use crate::store::sessions::{Session, SessionKey, Sessions};
use crate::store::{Result, StoreError};

#[derive(Debug, FromRow)]
struct SessionRow {
    id: Uuid,
    project_id: Uuid,
    user_id: Uuid,
    channel: i16,
    generation: i32,
    created_at: i64,
    expires_at: i64,
    ended_at: Option<i64>,
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self> {
        Ok(Self {
            id: row.id,
            project: ProjectId::from_row(row.project_id),
            user: row.user_id,
            channel: known(Channel::from_code(row.channel), "sessions.channel")?,
            generation: row.generation,
            created: Timestamp::from_ms(row.created_at),
            expires: Timestamp::from_ms(row.expires_at),
            ended: row.ended_at.map(Timestamp::from_ms),
        })
    }
}

#[derive(Debug, FromRow)]
struct SessionKeyRow {
    kid: String,
    sealed: Blob,
    public: Blob,
    created_at: i64,
    signs_from: i64,
    revoked_at: Option<i64>,
}

impl TryFrom<SessionKeyRow> for SessionKey {
    type Error = StoreError;

    fn try_from(row: SessionKeyRow) -> Result<Self> {
        Ok(Self {
            kid: row.kid,
            sealed: row.sealed.into(),
            public: row.public.exactly("session_keys.public")?,
            created: Timestamp::from_ms(row.created_at),
            signs_from: Timestamp::from_ms(row.signs_from),
            revoked: row.revoked_at.map(Timestamp::from_ms),
        })
    }
}

const FIND_USER: &str = "
    select id
      from users
     where project_id = $1
       and target in (select unhex(value, '-') from json_each($2))
     order by created_at, id
     limit 1";

const CREATE_USER: &str = "
    insert into users (project_id, target, id, created_at)
    select $1, unhex(value, '-'), $3, $4 from json_each($2) where true
        on conflict (project_id, target) do nothing";

const CREATE_SESSION: &str = "
    insert into sessions (id, project_id, user_id, channel, generation, created_at, expires_at, ended_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)";

const RENEW_SESSION: &str = "
    update sessions
       set generation = generation + 1,
           expires_at = $3
     where id = $1
       and generation = $2
       and ended_at is null
       and expires_at > $4";

const END_SESSION: &str = "
    update sessions
       set ended_at = $2
     where id = $1
       and ended_at is null";

const ADD_SESSION_KEY: &str = "
    insert into session_keys (kid, sealed, public, created_at, signs_from, revoked_at)
    values ($1, $2, $3, $4, $5, $6)";

const REVOKE_SESSION_KEYS: &str = "
    update session_keys
       set revoked_at = $2
     where kid <> $1
       and revoked_at is null";

#[async_trait]
impl Sessions for SqliteBackend {
    async fn user_of(&self, project: ProjectId, target: &Indexes, new: Uuid, now: Timestamp) -> Result<Uuid> {
        let targets = json(&target.all().map(index).collect::<Vec<_>>())?;
        let mut tx = self.begin_immediate().await?;
        let query = sqlx::query_scalar(FIND_USER).bind(project.as_uuid()).bind(&targets);
        let found: Option<Uuid> = query.fetch_optional(&mut *tx).await?;
        let user = found.unwrap_or(new);
        // Also a user known under an older root only, which will not be listed for ever.
        let query = sqlx::query(CREATE_USER).bind(project.as_uuid()).bind(&targets).bind(user).bind(now.as_ms());
        query.execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(user)
    }

    async fn create_session(&self, session: &Session) -> Result<()> {
        let query = sqlx::query(CREATE_SESSION)
            .bind(session.id)
            .bind(session.project.as_uuid())
            .bind(session.user)
            .bind(session.channel.code())
            .bind(session.generation)
            .bind(session.created.as_ms())
            .bind(session.expires.as_ms())
            .bind(session.ended.map(Timestamp::as_ms));
        query.execute(&self.writes).await?;
        Ok(())
    }

    async fn find_session(&self, id: Uuid) -> Result<Option<Session>> {
        let query = sqlx::query_as("select * from sessions where id = $1").bind(id);
        let row: Option<SessionRow> = query.fetch_optional(&self.reads).await?;
        row.map(TryFrom::try_from).transpose()
    }

    async fn renew_session(&self, id: Uuid, generation: i32, expires: Timestamp, now: Timestamp) -> Result<bool> {
        let query = sqlx::query(RENEW_SESSION).bind(id).bind(generation).bind(expires.as_ms()).bind(now.as_ms());
        Ok(query.execute(&self.writes).await?.rows_affected() > 0)
    }

    async fn end_session(&self, id: Uuid, now: Timestamp) -> Result<bool> {
        let done = sqlx::query(END_SESSION).bind(id).bind(now.as_ms()).execute(&self.writes).await?;
        Ok(done.rows_affected() > 0)
    }

    async fn session_keys(&self) -> Result<Vec<SessionKey>> {
        let query = sqlx::query_as("select * from session_keys order by signs_from desc, kid desc");
        let rows: Vec<SessionKeyRow> = query.fetch_all(&self.reads).await?;
        rows.into_iter().map(TryFrom::try_from).collect()
    }

    async fn add_session_key(&self, key: &SessionKey) -> Result<()> {
        let query = sqlx::query(ADD_SESSION_KEY)
            .bind(&key.kid)
            .bind(&key.sealed.0)
            .bind(&key.public[..])
            .bind(key.created.as_ms())
            .bind(key.signs_from.as_ms())
            .bind(key.revoked.map(Timestamp::as_ms));
        query.execute(&self.writes).await?;
        Ok(())
    }

    async fn revoke_session_keys(&self, except: &str, now: Timestamp) -> Result<u64> {
        let done = sqlx::query(REVOKE_SESSION_KEYS).bind(except).bind(now.as_ms()).execute(&self.writes).await?;
        Ok(done.rows_affected())
    }
}
