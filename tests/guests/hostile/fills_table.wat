;; Told to, fills a table as large as may be, again and again, each time by one instruction.
(table $table 100000 funcref)
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (loop $for_ever
        (table.fill $table (i32.const 0) (ref.null func) (i32.const 100000))
        (br $for_ever))))
  (call $ok))
