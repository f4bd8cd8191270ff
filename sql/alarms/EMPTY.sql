/*
zh: 空管
en: Empty pipe
severity: warning
origins: [device]
unit: ""
beyond: above
description: The terminal finds it and reports it in its alarm word.
*/
