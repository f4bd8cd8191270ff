/*
zh: 强磁干扰
en: Magnetic field
severity: critical
origins: [device]
unit: ""
beyond: above
description: The terminal finds it and reports it in its alarm word.
*/
