;; Gives back each line in upper case, until the client ends: a component written by hand.
(component
  (import "wharf:handler/connection@0.1.0" (instance $connection
    (type $code (variant
      (case "timed-out") (case "connection-reset") (case "broken-pipe") (case "message-too-large")
      (case "not-permitted") (case "other" string)))
    (export "error-code" (type $error (eq $code)))
    (export "recv" (func (param "max" u32) (result (result (list u8) (error $error)))))
    (export "send" (func (param "data" (list u8)) (result (result (error $error)))))))

  ;; Memory: from 0 what recv and send returned, from 32 what a step returns, from 64 texts, from 1024 what was heard.
  ;; It stands apart from the handler because recv needs it before the handler exists.
  (core module $Memory
    (memory (export "memory") 2)
    ;; One place is enough: what was heard is sent before more is heard.
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $shared))
  (alias core export $memory "realloc" (core func $realloc))

  (alias export $connection "recv" (func $connection_recv))
  (alias export $connection "send" (func $connection_send))
  (core func $recv (canon lower (func $connection_recv) (memory $shared) (realloc $realloc)))
  (core func $send (canon lower (func $connection_send) (memory $shared) (realloc $realloc)))

  (core module $Handler
    (import "memory" "memory" (memory 2))
    (import "connection" "recv" (func $recv (param i32 i32)))
    (import "connection" "send" (func $send (param i32 i32 i32)))
    (data (i32.const 64) "recv failed")
    (data (i32.const 80) "send failed")

    ;; What a step returns: all went well, or a text of eleven bytes.
    (func $ok (result i32)
      (i32.store8 (i32.const 32) (i32.const 0))
      (i32.const 32))
    (func $fail (param $text i32) (result i32)
      (i32.store8 (i32.const 32) (i32.const 1))
      (i32.store (i32.const 36) (local.get $text))
      (i32.store (i32.const 40) (i32.const 11))
      (i32.const 32))

    ;; Upper-cases ASCII in place and leaves carriage returns out: where the result ends.
    (func $upper (param $from i32) (param $end i32) (result i32) (local $to i32) (local $byte i32)
      (local.set $to (local.get $from))
      (block $done
        (loop $next
          (br_if $done (i32.eq (local.get $from) (local.get $end)))
          (local.set $byte (i32.load8_u (local.get $from)))
          (local.set $from (i32.add (local.get $from) (i32.const 1)))
          (br_if $next (i32.eq (local.get $byte) (i32.const 13)))
          (if (i32.lt_u (i32.sub (local.get $byte) (i32.const 97)) (i32.const 26))
            (then (local.set $byte (i32.sub (local.get $byte) (i32.const 32)))))
          (i32.store8 (local.get $to) (local.get $byte))
          (local.set $to (i32.add (local.get $to) (i32.const 1)))
          (br $next)))
      (local.get $to))

    (func $handle (result i32) (local $bytes i32) (local $length i32)
      (loop $next
        (call $recv (i32.const 65536) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (return (call $fail (i32.const 64)))))
        (local.set $bytes (i32.load (i32.const 4)))
        (local.set $length (i32.load (i32.const 8)))
        (if (i32.eqz (local.get $length)) (then (return (call $ok))))
        (call $send
          (local.get $bytes)
          (i32.sub
            (call $upper (local.get $bytes) (i32.add (local.get $bytes) (local.get $length)))
            (local.get $bytes))
          (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (return (call $fail (i32.const 80)))))
        (br $next))
      (unreachable))

    (export "nothing" (func $ok))
    (export "handle" (func $handle)))
  (core instance $handler (instantiate $Handler
    (with "memory" (instance $memory))
    (with "connection" (instance (export "recv" (func $recv)) (export "send" (func $send))))))

  (type $step (func (result (result (error string)))))
  (alias core export $handler "nothing" (core func $core_nothing))
  (alias core export $handler "handle" (core func $core_handle))
  (func $nothing (type $step) (canon lift (core func $core_nothing) (memory $shared)))
  (func $handle (type $step) (canon lift (core func $core_handle) (memory $shared)))
  (instance $stream_handler
    (export "setup" (func $nothing))
    (export "handle" (func $handle))
    (export "finish" (func $nothing)))
  (export "wharf:handler/stream-handler@0.1.0" (instance $stream_handler)))
