#!/usr/bin/env bash
# Sends a code, asks for it, verifies it: the whole of v1 with bash and curl.
#
#     OTPD_URL=http://127.0.0.1:8080 OTPD_API_KEY=… OTPD_PROJECT_ID=PRJ_… ./verify.sh ann@example.com [sms|email|whatsapp]
set -euo pipefail

target=${1:?"usage: verify.sh TARGET [CHANNEL]"}
if [[ $target == *@* ]]; then channel=${2:-email}; else channel=${2:-sms}; fi
url=${OTPD_URL:-http://127.0.0.1:8080}
: "${OTPD_API_KEY:?is the key, as "otpd dev" or "otpd key create" shows it}" "${OTPD_PROJECT_ID:?is the project, as PRJ_…}"

# Headers come from a file descriptor: arguments could be read by everybody on this machine.
headers() { printf 'x-api-key: %s\nx-project-id: %s\ncontent-type: application/json\n' "$OTPD_API_KEY" "$OTPD_PROJECT_ID"; }

# post PATH BODY [CURL OPTION…]: sets status and reply. The reply goes to a file, which curl empties before it repeats.
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
post() {
    local path=$1 body=$2
    shift 2
    status=$(curl -sS "$url/api/v1/otp/$path" -H @<(headers) --data-binary @- -o "$answer" -w '%{http_code}' \
        --max-time 10 "$@" <<<"$body")
    reply=$(<"$answer")
}

# A value as a JSON string, and a member of a flat JSON object.
quoted() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}
member() { sed -nE "s/.*\"$1\":\"?([^\",}]*).*/\1/p" <<<"$reply"; }

refused() {
    printf 'otpd: %s %s: %s\n' "$status" "$(member code)" "$(member message)" >&2
    exit 1
}

# curl waits as Retry-After says; with the key, a send that is repeated still goes out once.
retry=(--retry 3 --retry-max-time 20 --retry-connrefused)
id=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
post send "{\"target\":$(quoted "$target"),\"channel\":\"$channel\"}" -H "idempotency-key: $id" "${retry[@]}"
[[ $status == 202 ]] || refused
verification=$(member recordId)
printf 'sent to %s, good for %s s\n' "$target" "$(member expiresIn)"

while read -rp 'Code: ' code; do
    # Not repeated by itself: each call is a guess.
    post verify "{\"target\":$(quoted "$target"),\"code\":$(quoted "$code"),\"recordId\":\"$verification\"}"
    [[ $status == 200 ]] || refused
    if [[ $(member valid) == true ]]; then
        printf 'verified at %s\n' "$(member verifiedAt)"
        exit 0
    fi
    left=$(member attemptsLeft)
    printf '%s, %s attempts left\n' "$(member reason)" "${left:-0}"
    if [[ ${left:-0} == 0 ]]; then exit 1; fi
done
printf 'not verified\n'
exit 1
