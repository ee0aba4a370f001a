;; Told to, grows a table until it may not.
(table $table 1 funcref)
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (loop $more
        (br_if $more (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
      (unreachable)))
  (call $ok))
