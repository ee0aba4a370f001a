;; Told to, moves the whole of its memory to and fro, each time by one instruction.
(memory (export "memory") 64)
(func $handle (result i32)
  (if (call $told_to_misbehave)
    (then
      (loop $for_ever
        (memory.copy (i32.const 0) (i32.const 1) (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 1)))
        (memory.copy (i32.const 1) (i32.const 0) (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 1)))
        (br $for_ever))))
  (call $ok))
