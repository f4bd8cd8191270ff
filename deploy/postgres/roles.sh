#!/bin/sh
# Runs once, when PostgreSQL's volume is new: the roles of docs/operations.md with the passwords of mainflow.env.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    -v owner="$MAINFLOW_OWNER_PASSWORD" -v desk="$MAINFLOW_DESK_PASSWORD" -v board="$MAINFLOW_BOARD_PASSWORD" <<'SQL'
create role mainflow_owner login password :'owner';
create role mainflow_desk login password :'desk';
create role mainflow_board login password :'board';
alter role mainflow_board set statement_timeout = '30s';
alter role mainflow_board set default_transaction_read_only = on;
create role mainflow_reader;
create role mainflow_limited;
create role mainflow_desk_limited;
alter role mainflow_desk noinherit;
grant mainflow_limited to mainflow_desk_limited;
grant mainflow_desk_limited to mainflow_desk;
create database mainflow owner mainflow_owner;
revoke all on database mainflow from public;
grant connect on database mainflow to mainflow_desk, mainflow_board, mainflow_reader;
SQL
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname mainflow -c 'revoke all on schema public from public'
