DROP INDEX sessions_status;
