/*
zh: 最新读数不在未来
description: The latest reading of a meter is not more than ten minutes ahead of now.
severity: warn
because: one reading from the future hides every later one
*/
select meter, reading_at, received_at
from latest_figures
where reading_at > now() + interval 10 minutes
