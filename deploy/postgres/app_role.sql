-- The application of the sample: it works on the source tables and knows nothing of account-sync.
-- The password is for sample data behind a loopback port.

CREATE ROLE app LOGIN PASSWORD 'app';
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;
