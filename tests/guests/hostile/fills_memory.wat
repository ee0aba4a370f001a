;; Told to, fills the whole of its memory again and again, each time by one instruction.
(memory (export "memory") 64)
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (loop $for_ever
        (memory.fill (i32.const 0) (i32.const 7) (i32.shl (memory.size) (i32.const 16)))
        (br $for_ever))))
  (call $ok))
