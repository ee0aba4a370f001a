;; Shows its client a session's steps, errors, timeouts and addresses: one message is one command, which its first
;; two letters tell.
(component
  (import "wharf:handler/connection@0.1.0" (instance $connection
    (type $inet (record (field "ip" string) (field "port" u16)))
    (export "inet-address" (type $inet_address (eq $inet)))
    (type $end (variant (case "inet" $inet_address) (case "unix" (option string))))
    (export "address" (type $address (eq $end)))
    (type $code (variant
      (case "timed-out") (case "connection-reset") (case "broken-pipe") (case "message-too-large")
      (case "not-permitted") (case "other" string)))
    (export "error-code" (type $error (eq $code)))
    (type $way (enum "read" "write" "both"))
    (export "direction" (type $direction (eq $way)))
    (export "recv" (func (param "max" u32) (result (result (list u8) (error $error)))))
    (export "send" (func (param "data" (list u8)) (result (result (error $error)))))
    (export "shutdown" (func (param "direction" $direction) (result (result (error $error)))))
    (export "set-timeout" (func (param "timeout" (option u64))))
    (export "client-address" (func (result $address)))
    (export "server-address" (func (result $address)))))

  ;; Memory: from 0 what the host returned, from 32 what a step returns, from 64 texts, from 128 the error codes' names,
  ;; from 1024 what was heard or an address, from 3072 what is about to be said.
  (core module $Memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $shared))
  (alias core export $memory "realloc" (core func $realloc))

  (alias export $connection "recv" (func $connection_recv))
  (alias export $connection "send" (func $connection_send))
  (alias export $connection "shutdown" (func $connection_shutdown))
  (alias export $connection "set-timeout" (func $connection_set_timeout))
  (alias export $connection "client-address" (func $connection_client_address))
  (alias export $connection "server-address" (func $connection_server_address))
  (core func $recv (canon lower (func $connection_recv) (memory $shared) (realloc $realloc)))
  (core func $send (canon lower (func $connection_send) (memory $shared) (realloc $realloc)))
  (core func $shutdown (canon lower (func $connection_shutdown) (memory $shared) (realloc $realloc)))
  (core func $set_timeout (canon lower (func $connection_set_timeout)))
  (core func $client_address (canon lower (func $connection_client_address) (memory $shared) (realloc $realloc)))
  (core func $server_address (canon lower (func $connection_server_address) (memory $shared) (realloc $realloc)))

  (core module $Handler
    (import "memory" "memory" (memory 1))
    (import "connection" "recv" (func $recv (param i32 i32)))
    (import "connection" "send" (func $send (param i32 i32 i32)))
    (import "connection" "shutdown" (func $shutdown (param i32 i32)))
    (import "connection" "set-timeout" (func $set_timeout (param i32 i64)))
    (import "connection" "client-address" (func $client_address (param i32)))
    (import "connection" "server-address" (func $server_address (param i32)))
    (data (i32.const 64) "setup")
    (data (i32.const 72) "finish")
    (data (i32.const 80) "unnamed")
    (data (i32.const 96) "too late")
    ;; 32 bytes each: a length and a name.
    (data (i32.const 128) "\09timed-out")
    (data (i32.const 160) "\10connection-reset")
    (data (i32.const 192) "\0bbroken-pipe")
    (data (i32.const 224) "\11message-too-large")
    (data (i32.const 256) "\0dnot-permitted")
    (data (i32.const 288) "\05other")
    ;; Where what is about to be said ends.
    (global $end (mut i32) (i32.const 3072))

    (func $put (param $text i32) (param $length i32)
      (memory.copy (global.get $end) (local.get $text) (local.get $length))
      (global.set $end (i32.add (global.get $end) (local.get $length))))
    (func $put_byte (param $byte i32)
      (i32.store8 (global.get $end) (local.get $byte))
      (global.set $end (i32.add (global.get $end) (i32.const 1))))
    (func $put_number (param $number i32)
      (if (i32.ge_u (local.get $number) (i32.const 10))
        (then (call $put_number (i32.div_u (local.get $number) (i32.const 10)))))
      (call $put_byte (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10)))))

    ;; Sends what was put, and an end of line. Like the contract's functions, it leaves 1 at 0 if it failed.
    (func $say
      (call $put_byte (i32.const 10))
      (call $send (i32.const 3072) (i32.sub (global.get $end) (i32.const 3072)) (i32.const 0))
      (global.set $end (i32.const 3072)))

    ;; What a step returns when it fails with this text.
    (func $fail (param $text i32) (param $length i32) (result i32)
      (i32.store8 (i32.const 32) (i32.const 1))
      (i32.store (i32.const 36) (local.get $text))
      (i32.store (i32.const 40) (local.get $length))
      (i32.const 32))

    ;; The name of the error code that the host left: where its length stands, with the name behind it.
    (func $error (result i32)
      (i32.add (i32.const 128) (i32.mul (i32.const 32) (i32.load8_u (i32.const 4)))))
    (func $fail_by_code (result i32)
      (call $fail (i32.add (call $error) (i32.const 1)) (i32.load8_u (call $error))))

    ;; What a step returns: all went well, if nothing failed in the last call.
    (func $step (result i32)
      (if (i32.load8_u (i32.const 0)) (then (return (call $fail_by_code))))
      (i32.store8 (i32.const 32) (i32.const 0))
      (i32.const 32))

    ;; Puts the address that the host left.
    (func $put_address (local $from i32) (local $length i32) (local $at i32)
      (if (i32.load8_u (i32.const 0))
        (then
          (if (i32.load8_u (i32.const 4))
            (then (call $put (i32.load (i32.const 8)) (i32.load (i32.const 12))))
            (else (call $put (i32.const 80) (i32.const 7))))
          (return)))
      (local.set $from (i32.load (i32.const 4)))
      (local.set $length (i32.load (i32.const 8)))
      (local.set $at (local.get $from))
      ;; A colon within makes it IPv6, which stands in brackets.
      (block $plain
        (loop $next
          (br_if $plain (i32.ge_u (local.get $at) (i32.add (local.get $from) (local.get $length))))
          (if (i32.ne (i32.load8_u (local.get $at)) (i32.const 58))
            (then
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (br $next))))
        (call $put_byte (i32.const 91))
        (call $put (local.get $from) (local.get $length))
        (call $put_byte (i32.const 93))
        (local.set $length (i32.const 0)))
      (call $put (local.get $from) (local.get $length))
      (call $put_byte (i32.const 58))
      (call $put_number (i32.load16_u (i32.const 12))))

    ;; Waits for as many milliseconds as the digits from 1032 on say, and says what came of it.
    (func $time_out (param $end i32) (local $at i32) (local $milliseconds i64)
      (local.set $at (i32.const 1032))
      (block $done
        (loop $next
          (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
          (local.set $milliseconds
            (i64.add
              (i64.mul (local.get $milliseconds) (i64.const 10))
              (i64.extend_i32_u (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $next)))
      (call $set_timeout (i32.const 1) (i64.mul (local.get $milliseconds) (i64.const 1000000)))
      (call $recv (i32.const 1024) (i32.const 0))
      (call $set_timeout (i32.const 0) (i64.const 0))
      (if (i32.load8_u (i32.const 0))
        (then
          (call $put (i32.add (call $error) (i32.const 1)) (i32.load8_u (call $error)))
          (call $say))))

    (func $setup (result i32)
      (call $put (i32.const 64) (i32.const 5))
      (call $say)
      (call $step))

    (func $handle (result i32) (local $length i32) (local $first i32)
      (loop $next
        (call $recv (i32.const 1024) (i32.const 0))
        (if (i32.load8_u (i32.const 0)) (then (return (call $fail_by_code))))
        (local.set $length (i32.load (i32.const 8)))
        (if (i32.eqz (local.get $length)) (then (return (call $step))))
        ;; Without the end of the line.
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (local.set $first (i32.load16_u (i32.const 1024)))
        (block $done
          (if (i32.eq (local.get $first) (i32.const 0x6461)) ;; addresses
            (then
              (call $client_address (i32.const 0))
              (call $put_address)
              (call $put_byte (i32.const 32))
              (call $server_address (i32.const 0))
              (call $put_address)
              (call $say)
              (br $done)))
          (if (i32.eq (local.get $first) (i32.const 0x6974)) ;; timeout
            (then
              (call $time_out (i32.add (i32.const 1024) (local.get $length)))
              (br $done)))
          (if (i32.eq (local.get $first) (i32.const 0x6166)) ;; fail
            (then (return (call $fail (i32.const 1029) (i32.sub (local.get $length) (i32.const 5))))))
          (if (i32.eq (local.get $first) (i32.const 0x7274)) ;; trap
            (then (unreachable)))
          (if (i32.eq (local.get $first) (i32.const 0x6873)) ;; shutdown
            (then
              (call $shutdown (i32.const 1) (i32.const 0))
              (call $put (i32.const 96) (i32.const 8)))
            (else (call $put (i32.const 1024) (local.get $length))))
          (call $say))
        (br_if $next (i32.eqz (i32.load8_u (i32.const 0)))))
      (call $fail_by_code))

    (func $finish (result i32)
      (call $put (i32.const 72) (i32.const 6))
      (call $say)
      (call $step))

    (export "setup" (func $setup))
    (export "handle" (func $handle))
    (export "finish" (func $finish)))
  (core instance $handler (instantiate $Handler
    (with "memory" (instance $memory))
    (with "connection" (instance
      (export "recv" (func $recv))
      (export "send" (func $send))
      (export "shutdown" (func $shutdown))
      (export "set-timeout" (func $set_timeout))
      (export "client-address" (func $client_address))
      (export "server-address" (func $server_address))))))

  (type $step (func (result (result (error string)))))
  (alias core export $handler "setup" (core func $core_setup))
  (alias core export $handler "handle" (core func $core_handle))
  (alias core export $handler "finish" (core func $core_finish))
  (func $setup (type $step) (canon lift (core func $core_setup) (memory $shared)))
  (func $handle (type $step) (canon lift (core func $core_handle) (memory $shared)))
  (func $finish (type $step) (canon lift (core func $core_finish) (memory $shared)))
  (instance $stream_handler
    (export "setup" (func $setup))
    (export "handle" (func $handle))
    (export "finish" (func $finish)))
  (export "wharf:handler/stream-handler@0.1.0" (instance $stream_handler)))
