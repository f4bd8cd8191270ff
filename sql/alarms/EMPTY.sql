/*
zh: 空管
en: Empty pipe
severity: warning
unit: ""
beyond: above
description: The terminal finds it and reports it in its alarm word.
*/
