;; Told to, asks for a table of two thousand million elements, and calls one of those.
(type $anything (func))
(table $table 1 funcref)
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (drop (table.grow $table (ref.null func) (i32.const 0x7ffffffe)))
      (call_indirect $table (type $anything) (i32.const 0x7ffffff0))))
  (call $ok))
