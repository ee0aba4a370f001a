;; What every fixture can call. Memory from 0: 16 bytes for recv's result, 16 for send's, 16 for a step's own;
;; from 64 the fixture's texts, from 1024 the names of the error codes, from 2048 what was heard. Texts end with \00.
(data (i32.const 1024) "timed-out\00")
(data (i32.const 1056) "connection-reset\00")
(data (i32.const 1088) "broken-pipe\00")
(data (i32.const 1120) "message-too-large\00")
(data (i32.const 1152) "not-permitted\00")
(data (i32.const 1184) "other\00")
(data (i32.const 1216) "ok\0a\00")
(global $told (mut i32) (i32.const 0))

(func $length (param $text i32) (result i32) (local $end i32)
  (local.set $end (local.get $text))
  (block $done
    (loop $next
      (br_if $done (i32.eqz (i32.load8_u (local.get $end))))
      (local.set $end (i32.add (local.get $end) (i32.const 1)))
      (br $next)))
  (i32.sub (local.get $end) (local.get $text)))

;; What a step returns when all went well.
(func $ok (result i32)
  (i32.store8 (i32.const 32) (i32.const 0))
  (i32.const 32))

;; What a step returns when it fails with this text.
(func $fail (param $text i32) (result i32)
  (i32.store8 (i32.const 32) (i32.const 1))
  (i32.store (i32.const 36) (local.get $text))
  (i32.store (i32.const 40) (call $length (local.get $text)))
  (i32.const 32))

;; Waits for bytes: how many, 0 at end-of-stream, -1 for an error.
(func $hear (result i32)
  (call $recv (i32.const 1024) (i32.const 0))
  (if (result i32) (i32.load8_u (i32.const 0))
    (then (i32.const -1))
    (else (i32.load (i32.const 8)))))

;; The name of the error that the last `hear` met.
(func $error_heard (result i32)
  (i32.add (i32.const 1024) (i32.mul (i32.const 32) (i32.load8_u (i32.const 4)))))

;; Sends a text: 0, or 1 for an error.
(func $say (param $text i32) (result i32)
  (call $send (local.get $text) (call $length (local.get $text)) (i32.const 16))
  (i32.load8_u (i32.const 16)))

;; Answers `ok` to each message until one begins with `!`, which is 1, or the client ends, which is 0.
(func $told_to_misbehave (result i32)
  (block $end
    (loop $next
      (br_if $end (i32.le_s (call $hear) (i32.const 0)))
      (global.set $told (i32.eq (i32.load8_u (i32.load (i32.const 4))) (i32.const 33)))
      (br_if $end (global.get $told))
      (br_if $next (i32.eqz (call $say (i32.const 1216))))))
  (global.get $told))
