/*
zh: 各项分相加为评分
description: The points of the parts add up to the score.
severity: fail
because: a score that its parts do not explain cannot be worked on
*/
select meter, day, score
from quality_score
join touched_review_day using (day)
where score < 0
    or abs(
        score - coalesce(completeness_points + timeliness_points + vee_points + sum_points + clock_points + battery_points + signal_points, 0)
    ) > 1e-9
