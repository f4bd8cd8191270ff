/*
zh: 传感器故障
en: Sensor fault
severity: maintenance
origins: [device]
unit: ""
beyond: above
description: The terminal finds it and reports it in its alarm word.
*/
