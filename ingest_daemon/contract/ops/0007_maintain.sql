-- States of the registry's files. Contents hold passwords of terminals: only the desk and the owner read them.
create table ops.registry_change (
    change_id bigint generated always as identity primary key,
    file text not null,
    changed_at timestamptz not null,
    -- Empty: somebody beside the desk.
    changed_by text,
    kind text not null check (kind in ('upload', 'undo', 'outside')),
    undoes bigint references ops.registry_change,
    -- SHA-256 of the content, and the content packed by gzip; empty: no file.
    digest text,
    content bytea,
    rows_added integer not null,
    rows_changed integer not null,
    rows_gone integer not null
);
create index registry_change_file_idx on ops.registry_change (file, change_id);
create trigger append_only before update or delete on ops.registry_change for each row execute function ops.refuse_change();

-- What a file of the registry may become, until somebody applies it.
create table ops.registry_draft (
    draft_id text primary key,
    file text not null,
    made_at timestamptz not null default now(),
    made_by text not null,
    base text,
    content bytea,
    known_as text not null,
    undoes bigint
);

-- Meters to change: each step of a proposal, or a note on it. The newest row of a meter is its state.
create table ops.meter_change (
    change_id bigint generated always as identity primary key,
    meter text not null,
    candidate text not null,
    state text not null check (state in ('proposed', 'approved', 'rejected', 'done')),
    -- What the proposal promised when the step was taken.
    saving_m3_year double precision,
    saving_cny_year double precision,
    payback_years double precision,
    done_on date,
    note text,
    changed_by text not null,
    changed_at timestamptz not null default clock_timestamp()
);
create index meter_change_meter_idx on ops.meter_change (meter, change_id);
create trigger append_only before update or delete on ops.meter_change for each row execute function ops.refuse_change();

do $$ begin
    if exists (select from pg_roles where rolname = 'mainflow_board') then
        grant select on ops.meter_change to mainflow_board;
    end if;
    if exists (select from pg_roles where rolname = 'mainflow_desk') then
        grant select, insert on ops.registry_change, ops.meter_change to mainflow_desk;
        grant select, insert, delete on ops.registry_draft to mainflow_desk;
    end if;
end $$;
