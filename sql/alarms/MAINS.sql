/*
zh: 市电中断
en: Mains lost
severity: maintenance
origins: [device]
unit: ""
beyond: above
description: The terminal finds it and reports it in its alarm word.
*/
