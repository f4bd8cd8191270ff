/*
zh: 其他报警
en: Other alarm
severity: info
origins: [device]
unit: ""
beyond: above
description: An alarm of another system whose code is not in registry/amr_alarms.csv; its own code and text stand in the frame, and in `mainflow amr tags`.
*/
