-- The limits of connections that this role is under, and how many others use of them; the one with the least room first.
WITH sessions AS (
    SELECT usename, datname
    FROM pg_stat_activity
    WHERE datid IS NOT NULL AND pid <> pg_backend_pid()
)
SELECT limits.whose, limits.most::bigint AS most, limits.used
FROM (
    SELECT format('the role %I', r.rolname), r.rolconnlimit, (SELECT count(*) FROM sessions s WHERE s.usename = r.rolname)
    FROM pg_roles r
    WHERE r.rolname = session_user AND r.rolconnlimit >= 0 AND NOT r.rolsuper
    UNION ALL
    SELECT
        format('the database %I', d.datname), d.datconnlimit, (SELECT count(*) FROM sessions s WHERE s.datname = d.datname)
    FROM pg_database d
    WHERE d.datname = current_database() AND d.datconnlimit >= 0
    UNION ALL
    SELECT
        'the server',
        current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer,
        (SELECT count(*) FROM sessions)
) AS limits (whose, most, used)
ORDER BY limits.most - limits.used, limits.whose
