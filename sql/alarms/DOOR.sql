/*
zh: 箱门打开
en: Box open
severity: warning
origins: [device]
unit: ""
beyond: above
description: The terminal finds it and reports it in its alarm word.
*/
