create table if not exists ops.site (
    only_row boolean primary key default true check (only_row),
    site_id text not null
);
