/*
zh: 时钟偏差
en: Clock wrong
severity: maintenance
origins: [device, server]
unit: s
beyond: above
description: >-
  The daemon finds it: the time of a frame differs from that of its arrival by more than [daemon] clock_s.
*/
